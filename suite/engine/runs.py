"""The runs of a fleet while they train, and at their end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from suite.declarations.config import RunConfig
from suite.declarations.metrics import EpochRecord
from suite.declarations.predictions import Predictions
from suite.declarations.results import RunResult
from suite.engine.checkpoint import Group

# Settings in which the runs of one fleet may differ.
FUSABLE = (*RunConfig.initials(), "seed", "learning_rate", "kernel_l2")


def fusion_key(config: RunConfig) -> tuple[object, ...]:
    """Equal for runs that may train in one fleet."""
    return tuple(getattr(config, name) for name in type(config).model_fields if name not in FUSABLE)


@dataclass
class Member:
    """One run of a fleet and what it has measured."""

    config: RunConfig
    kernel_norm_initial: float
    history: list[EpochRecord] = field(default_factory=list)
    best: EpochRecord | None = None

    def add(self, record: EpochRecord) -> bool:
        """Append an epoch; say whether its val_loss is the lowest so far."""
        self.history.append(record)
        improved = record.val_loss < (self.best.val_loss if self.best else math.inf)
        if improved:
            self.best = record
        return improved

    @property
    def diverged(self) -> bool:
        """Whether the last epoch's losses are not finite."""
        last = self.history[-1]
        return not (math.isfinite(last.train_loss) and math.isfinite(last.val_loss))

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end: all epochs, early stop or divergence."""
        epoch, patience = self.history[-1].epoch, self.config.early_stopping_patience
        waited = epoch - (self.best.epoch if self.best else 0)
        return self.diverged or epoch >= self.config.epochs or (0 < patience <= waited)


@dataclass(frozen=True)
class TrainedRun(RunResult):
    """A run at its end, with the checkpoint of its lowest val_loss.

    Attributes
    ----------
    parameters, buffers
        Name to tensor, on the CPU; None if val_loss was never finite.
    predictions
        What that checkpoint says of the test images; None where there is none.
    """

    parameters: Group | None
    buffers: Group | None
    predictions: Predictions | None = None


@dataclass(frozen=True)
class EpochOutcome:
    """What an epoch of a fleet has brought.

    Attributes
    ----------
    records
        What each run measured in it, by the run's fingerprint.
    ended
        The runs that came to their end with it.
    """

    records: dict[str, EpochRecord]
    ended: list[TrainedRun]
