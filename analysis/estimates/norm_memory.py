"""Radial memory: how much of the initial kernel norm the selected checkpoint still shows.

Das et al. 2026, §3.1, reads ‖W‖ at τ_best against ‖W‖ at the start. Here that is a slope in
logarithms: 1 where every factor between initial norms is kept, 0 where all scales end at one norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.cluster_slope import cluster_slopes
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.seed_mean import seed_mean

Floats = NDArray[np.float64]
LEAST_RANGE = 1e-6  # of log ‖W‖ before training; below it norms differ by rounding


def norm_memory(
    runs: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """The kernel norm's memory of every recipe.

    Returns
    -------
    DataFrame
        recipe; slope of log kernel_norm_best on log kernel_norm_initial over σw and seeds, with its
        seed-clustered standard_error and low, high; initial_spread, best_spread (largest over
        smallest norm between σw, as the mean over seeds of the range of log norms); kept (mean over
        seeds of best range / initial range) with kept_low, kept_high (t over seeds that have all
        σw, kept_seeds of them); runs, seeds, scales, diverged. Slope and kept are NaN where the
        perturbed setting leaves the initial norm alone, as σb does.
    """
    norms = [_log(runs[f"kernel_norm_{when}"]) for when in ("initial", "best")]
    rows = [
        {"recipe": recipe.label}
        | _estimate(recipe.pivot(norms[0]), recipe.pivot(norms[1]), level)
        | {"diverged": recipe.diverged_count}
        for recipe in (find_recipes(runs) if recipes is None else recipes)
    ]
    return pd.DataFrame(rows)


def _log(norms: pd.Series[Any]) -> Floats:
    values = norms.to_numpy(dtype=np.float64)
    return np.log(np.where(values > 0, values, np.nan))


def _estimate(initial: Floats, best: Floats, level: float) -> dict[str, Any]:
    found = cluster_slopes(initial, best[:, :, None])
    error = float(found.standard_error[0])
    slope, half = float(found.slope[0]), float(found.half_width(level)[0])
    whole = np.isfinite(initial + best).all(0) & (len(initial) > 1)
    # A seed without all σw would compare ranges over different σw.
    before = np.ptp(initial[:, whole], axis=0)
    after = np.ptp(best[:, whole], axis=0)
    if before.size and before.max() < LEAST_RANGE:  # nothing that could be kept
        slope, half, error = (math.nan,) * 3
        kept = seed_mean(np.full_like(before, math.nan), level)
    else:
        kept = seed_mean(after / before, level)
    return {
        "slope": slope,
        "standard_error": error,
        "low": slope - half,
        "high": slope + half,
        "initial_spread": float(np.exp(seed_mean(before).mean)),
        "best_spread": float(np.exp(seed_mean(after).mean)),
        "kept": kept.mean,
        "kept_low": kept.low,
        "kept_high": kept.high,
        "kept_seeds": kept.n,
        "runs": int(found.runs[0]),
        "seeds": int(found.seeds[0]),
        "scales": int(found.scales[0]),
    }
