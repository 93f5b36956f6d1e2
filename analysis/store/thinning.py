"""Histories made small for travelling, without a change in any number that the analysis makes.

What is estimated from a history is the slope of validation accuracy on σw at every epoch, and
training accuracy at τ_best and in the last epoch. So validation accuracy stays whole, and all other
metrics stay at τ_best, τ_interp, the last epoch, and others evenly along log epoch, at which a
curve still looks as it did. Accuracies are parts of some hundred or thousand images and the rate is
the same in all runs of a recipe: a dictionary of their few values holds them as they are. Losses
and norms are kept in single precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.store.history import HistoryTable
from suite.declarations.metrics import EPOCH_METRIC_NAMES

WHOLE = ("val_accuracy",)
EXACT = ("train_accuracy", "val_accuracy", "learning_rate")
EVENTS = ("best_epoch", "interpolation_epoch")  # of a run, whose epochs are kept
POINTS = 40  # of a run, evenly along log epoch


@dataclass(frozen=True)
class Thinning:
    """What is left of the histories; the record that travels with them.

    Attributes
    ----------
    whole
        Metrics at every epoch.
    points
        Epochs of a run at which the others are kept, at most, beside `events` and the last.
    events
        Summary metrics that are epochs.
    single_precision
        Metrics that are rounded to 24 binary digits.
    """

    whole: tuple[str, ...] = WHOLE
    points: int = POINTS
    events: tuple[str, ...] = EVENTS
    single_precision: tuple[str, ...] = tuple(n for n in EPOCH_METRIC_NAMES if n not in EXACT)

    def __str__(self) -> str:
        """What is left, in words."""
        return (
            f"histories thinned: {', '.join(self.whole)} whole, all else at up to {self.points} "
            f"epochs of a run and at its {' and '.join(self.events)}; "
            f"{', '.join(self.single_precision)} in single precision"
        )


def kept_rows(histories: HistoryTable, runs: pd.DataFrame, thinning: Thinning) -> NDArray[np.bool_]:
    """The rows of a table whose metrics are all kept.

    Parameters
    ----------
    histories
        The epochs of the runs, in their order.
    runs
        With the events.
    thinning
        The rule.

    Returns
    -------
    ndarray of shape (rows,)
    """
    counts = histories.counts
    epoch = histories.columns["epoch"].astype(np.int64)
    ends = np.cumsum(counts)
    last = np.where(counts > 0, epoch[np.maximum(ends, 1) - 1], 0) if epoch.size else counts
    kept = np.zeros(epoch.size, dtype=np.bool_)
    for length in np.unique(last[counts > 0]):
        rows = np.repeat(last == length, counts)
        kept[rows] = np.isin(epoch[rows], log_spaced(int(length), thinning.points))
    for event in thinning.events:
        kept |= epoch == np.repeat(runs[event].to_numpy(dtype=np.float64), counts)
    return kept


def log_spaced(last: int, points: int) -> NDArray[np.int64]:
    """Epochs from 1 to the last, evenly along their logarithm, at most so many."""
    return np.unique(np.geomspace(1, last, points).round().astype(np.int64))
