"""Where the fleets of a sweep are trained: processes of this machine, Ray, or SLURM.

Nothing here schedules: the ledger and the leases decide who trains what, and workers pull.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from suite.basics.settings import ConfigError
from suite.executors.placement import Placement
from suite.worker.messages import Event, Job


class Executor(Protocol):
    """Workers that are training a sweep."""

    @property
    def going_on(self) -> str:
        """What to tell a person who leaves while workers stay; empty where they all have ended."""

    def events(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        """Worker index and event, until all workers have ended or the sweep leaves them.

        Between events it yields a `tick` now and then, so that a caller can redraw.

        Parameters
        ----------
        stop
            Whether to end early.
        """


class Place(Protocol):
    """Somewhere to train, found and checked, before anything is started."""

    @property
    def description(self) -> str:
        """How many workers it has, and where."""

    def start(self, parents: Mapping[str, str]) -> Executor:
        """Start the workers.

        Parameters
        ----------
        parents
            A recipe's fingerprint to the MLflow run under which its runs are listed.
        """


def find_place(placement: Placement, job: Job, workers: int) -> Place:
    """Where to train, as the settings say.

    Parameters
    ----------
    job
        What each worker needs to know, all but its index and the parents.
    workers
        How many workers a person asked for; 0 leaves it to the place.

    Raises
    ------
    ConfigError
        If it is not there, lacks what workers need, or its package is not installed.
    """
    try:
        if placement.executor == "ray":
            from suite.executors.ray_cluster import RayCluster

            return RayCluster(placement, job, workers)
        if placement.executor == "slurm":
            from suite.executors.slurm_array import SlurmArray

            return SlurmArray(placement, job)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise ConfigError(
            f"executor: {placement.executor} needs its extra, got no module {error.name}; "
            f"pip install 'initialization-memory[{placement.executor}]'"
        ) from None
    from suite.executors.processes import LocalProcesses

    return LocalProcesses(job)


PACKAGES = ("ray", "submitit")
