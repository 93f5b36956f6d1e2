"""Memory while it trains: how far σw moves the validation accuracy of the network at each epoch.

The same spread as memory's, of validation accuracy at epoch t in place of the returned predictor's
test accuracy. Unlike β(t) it sees what is no straight line in σw, and it is in points of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.estimates.histories import epoch_matrix
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.returned import with_last_held
from analysis.estimates.spread import cross_validated, extremes, interval
from analysis.store.thinning import log_spaced

POINTS = 40  # of each recipe, evenly along log epoch


def memory_by_epoch(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    level: float = 0.95,
    points: int = POINTS,
    seed: int = 0,
) -> pd.DataFrame:
    """The spread of validation accuracy over σw at up to `points` epochs of every recipe.

    Returns
    -------
    DataFrame
        recipe, epoch; memory (largest less smallest mean over σw, a fraction), corrected, low, high
        (see `analysis.estimates.memory`); seeds, scales that went in. A diverged run stays at what
        it was when it stopped.
    """
    matrix = with_last_held(epoch_matrix(runs, history, "val_accuracy"), runs)
    chosen = find_recipes(runs) if recipes is None else recipes
    rows = []
    for recipe, rng in zip(chosen, np.random.default_rng(seed).spawn(len(chosen)), strict=True):
        accuracy = recipe.pivot(matrix)
        reached = int(np.isfinite(accuracy).any((0, 1)).sum())
        for epoch in log_spaced(reached, points) if reached else ():
            values = accuracy[:, :, epoch - 1]
            plain, validated = extremes(values), cross_validated(values, rng)
            low, high = interval(values, plain, validated, level)
            rows.append(
                {
                    "recipe": recipe.label,
                    "epoch": int(epoch),
                    "memory": plain.spread,
                    "corrected": validated,
                    "low": low,
                    "high": high,
                    "seeds": int(np.isfinite(values).any(0).sum()),
                    "scales": int(np.isfinite(values).any(1).sum()),
                }
            )
    return pd.DataFrame(rows)
