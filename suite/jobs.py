"""What a sweep and its workers say to each other. Light: neither torch nor MLflow is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from suite.config import RunConfig
from suite.machine import Machine

EventKind = Literal["notice", "fleet", "epoch", "finished", "failed", "idle", "away", "end"]


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
        Recipe name to the MLflow run under which its runs are listed.
    fleet
        Runs at once; 0 measures.
    workers, index
        How many workers share the work, and which one this is.
    """

    configs: Sequence[RunConfig]
    parents: Mapping[str, str]
    experiment: str
    tracking_uri: str
    state_dir: Path
    machine: Machine
    fleet: int
    retries: int
    workers: int
    index: int


