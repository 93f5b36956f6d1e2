"""The right to train a run, and what can take it away."""

from __future__ import annotations

from dataclasses import dataclass, field

from suite.declarations.config import RunConfig
from suite.declarations.metrics import EpochRecord
from suite.engine.checkpoint import CheckpointError, RunState
from suite.state.leases import Lease


@dataclass
class Claim:
    """The right to train one run, and where it goes on from."""

    config: RunConfig
    lock: Lease
    state: RunState | None
    run_id: str | None  # None until MLflow has the run
    parent: str = ""  # MLflow id of the run under which it is listed
    logged: int = 0  # the last epoch which MLflow had when the run was taken up
    secured: int = 0  # the last epoch which a crash cannot make the run train again
    unlogged: list[EpochRecord] = field(default_factory=list)  # trained, not handed to the writer

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
    """A fleet broke; `claims` are its runs that had not ended."""

    def __init__(self, error: Exception, claims: list[Claim]) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error, self.claims = error, claims


class UnreadableError(CheckpointError):
    """One run's checkpoint is there but cannot be read; other runs are not concerned."""
