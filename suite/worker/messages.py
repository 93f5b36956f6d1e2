"""What a sweep and its workers say to each other. Light: neither torch nor MLflow is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine
from suite.declarations.results import RunResult

EventKind = Literal[
    "notice",  # one line for a person
    "fleet",  # FleetStart
    "epoch",  # FleetEpoch
    "finished",  # Uploaded: MLflow has all of a run
    "elsewhere",  # fingerprints of runs which other processes have finished
    "failed",  # fingerprint, name and reason of a run that is given up
    "idle",  # waits for other processes' runs
    "tick",  # nothing: time to redraw
    "end",  # None, "interrupted", or why the worker stopped
]

# What a worker found that was asked for one fleet: one to train, nothing but what other processes
# hold, or nothing left at all.
Found = Literal["trained", "held", "nothing"]


@dataclass(frozen=True)
class FleetStart:
    """A fleet begins, or goes on.

    Attributes
    ----------
    epochs, epoch
        How many there are, and after which one it goes on.
    images
        What one run trains on in an epoch.
    run_ids
        MLflow's id of each run that has begun there before; empty for a new one.
    """

    name: str
    fingerprints: tuple[str, ...]
    epochs: int
    epoch: int
    images: int
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class FleetEpoch:
    """A fleet has done an epoch; `accuracy` is its runs' mean val_accuracy."""

    epoch: int
    fingerprints: tuple[str, ...]
    accuracy: float


class Uploaded(NamedTuple):
    """A finished run of which MLflow has everything, and MLflow's id of it."""

    run_id: str
    result: RunResult


@dataclass(frozen=True)
class Event:
    """What a worker tells the sweep's display and scoreboard."""

    kind: EventKind
    content: Any = None


@dataclass(frozen=True)
class Job:
    """What a worker needs to know.

    Attributes
    ----------
    configs
        The runs to be done, those already finished left out.
    parents
        A recipe's fingerprint to the MLflow run under which its runs are listed.
    state_dir
        A folder of this machine, or an object store's address.
    fleet
        Runs at once; 0 measures.
    workers, index
        How many workers share the work, and which one this is.
    neighbours
        How many workers share this one's GPU or, on CPUs, its machine; 0 is all.
    force
        Whether to train what is finished, too; the new run takes the old one's place.
    adopt
        An MLflow run that has begun already, such as that of ``mlflow run``, for a run which has
        none; empty for none.
    failed_before
        Which runs had failed when the sweep began, as the ledger says it: what has failed since is
        not tried again. None takes what had failed when the worker began.
    lease_database
        The PostgreSQL database that keeps the leases; empty keeps them in the folder.
    """

    configs: Sequence[RunConfig]
    parents: Mapping[str, str]
    experiment: str
    tracking_uri: str
    state_dir: Path | str
    machine: Machine
    fleet: int
    retries: int
    workers: int
    index: int
    failed_before: Mapping[str, tuple[str, int | None]] | None = None
    lease_database: str = ""
    neighbours: int = 0
    force: bool = False
    adopt: str = ""
