"""When the labels are fitted, over the seeds: τ_interp's median with an interval, and its spread.

A run that never reaches 99.5 % training accuracy counts as later than all others (infinity), so
that no quantile is made too early by leaving it out. The median's interval is the one between two
order statistics whose coverage is at least 95 % by the binomial distribution, whatever the
distribution of τ_interp; fewer than six seeds allow none (`scipy.stats.quantile_test`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.recipes import Recipe, find_recipes

Floats = NDArray[np.float64]


def interpolation_time(
    runs: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """τ_interp over the seeds, one row per recipe and σw.

    Returns
    -------
    DataFrame
        recipe, sigma_w; mean (the median, in epochs; inf where half of the runs never get there),
        low, high (its interval; NaN below six seeds), p10, p90 (percentiles over seeds, inf where
        they lie among runs that never get there); reached (runs that do), n (runs), diverged (runs
        left out).
    """
    fitted = runs["interpolation_epoch"].to_numpy(dtype=np.float64)
    never = np.where(np.isnan(fitted), np.inf, fitted)
    rows = []
    for recipe in find_recipes(runs) if recipes is None else recipes:
        for s, values in enumerate(recipe.pivot(never)):
            rows.append(
                {"recipe": recipe.label, "sigma_w": recipe.scales[s]}
                | over_seeds(values[~np.isnan(values)], level)
                | {"diverged": int(recipe.diverged[s].sum())}
            )
    return pd.DataFrame(rows)


def over_seeds(epochs: Floats, level: float = 0.95) -> dict[str, Any]:
    """Median, interval and percentiles of one τ_interp per run; inf is a run without one."""
    if not epochs.size:
        none = dict.fromkeys(("mean", "low", "high", "p10", "p90"), math.nan)
        return none | {"reached": 0, "n": 0}
    low, high = stats.quantile_test(epochs, q=np.inf, p=0.5).confidence_interval(level)
    # No mean of an epoch and infinity may be taken: the later of the two neighbours stands.
    p10, median, p90 = np.quantile(epochs, [0.1, 0.5, 0.9], method="higher")
    if np.isfinite(epochs).all():
        p10, median, p90 = np.quantile(epochs, [0.1, 0.5, 0.9])
    return {
        "mean": float(median),
        "low": float(low),
        "high": float(high),
        "p10": float(p10),
        "p90": float(p90),
        "reached": int(np.isfinite(epochs).sum()),
        "n": int(epochs.size),
    }
