"""Layers frames of made-up runs whose cosines are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.store.layers import layers_frame
from suite.declarations.layers import LayerHistory, is_measured

Cosines = Callable[[Any, int, int], float]  # of a run (a row of runs), an epoch and a depth
NAMES = ("stem", "block1", "block2", "head")


def made_layers(
    runs: pd.DataFrame, cosine: Cosines, names: Sequence[str] = NAMES, last: int = 30
) -> pd.DataFrame:
    """The layers of all runs; norms double in the course of training."""
    histories = []
    for run in runs.itertuples():
        found = LayerHistory(tuple(names))
        due = {e for e in range(1, last + 1) if is_measured(e, last)}
        best = {} if np.isnan(run.best_epoch) else {int(run.best_epoch)}
        for epoch in sorted({0, *due, *best}):
            cosines = [cosine(run, epoch, depth) for depth in range(len(names))]
            norms = [run.sigma_w * (depth + 1) * (1 + epoch / last) for depth in range(len(names))]
            found = found.with_epoch(epoch, norms, cosines)
        histories.append(found)
    return layers_frame(runs["run_id"].tolist(), histories)


def fading(run: Any, epoch: int, depth: int) -> float:
    """Each layer four times as fast as the one before it, a little unlike seeds."""
    return float(np.exp(-epoch * 4.0**depth / (40 * (1 + 0.02 * (run.seed % 7)))))
