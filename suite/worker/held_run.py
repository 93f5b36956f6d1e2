"""A run whose lease a worker holds, and what can take it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from suite.declarations.config import RunConfig
from suite.declarations.metrics import EpochRecord
from suite.engine.checkpoint import CheckpointError, RunState
from suite.state.leases import Lease
from suite.tracking.metadata import DataDescription


@dataclass
class HeldRun:
    """A run that this worker alone may train, and where it goes on from.

    Attributes
    ----------
    data
        Its data set, as MLflow shows it.
    state
        Its checkpoint; None where there is none.
    run_id
        MLflow's id; None until MLflow has the run.
    parent
        MLflow's id of the run under which it is listed; empty for none.
    logged
        The last epoch that MLflow knew when this worker took the run.
    secured
        The last epoch that is in a checkpoint; after a crash, training goes on behind it. Only
        epochs up to this one are logged.
    unlogged
        Epochs that were trained, but not logged yet.
    """

    config: RunConfig
    lease: Lease
    data: DataDescription
    state: RunState | None = None
    run_id: str | None = None
    parent: str = ""
    logged: int = 0
    secured: int = 0
    unlogged: list[EpochRecord] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self.state.epoch if self.state else 0

    def begin(self) -> None:
        """Training begins, or begins again from the state."""
        self.secured, self.unlogged = self.epoch, []

    def take_secured(self) -> list[EpochRecord]:
        """The epochs that may be logged now and have not been taken for it yet."""
        records = [record for record in self.unlogged if record.epoch <= self.secured]
        del self.unlogged[: len(records)]
        return records


class FleetError(RuntimeError):
    """A fleet broke; `runs` are those of its runs that had not ended, still held."""

    def __init__(self, error: Exception, runs: Sequence[HeldRun]) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error, self.runs = error, list(runs)


class UnreadableError(CheckpointError):
    """The system does not let one run's files be read; other runs are not concerned."""
