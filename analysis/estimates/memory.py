"""Initialization memory of every recipe, with its uncertainty (Das et al. 2026, §2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.spread import (
    cross_validated,
    extremes,
    interval,
    noise,
    permuted_spreads,
    seed_means,
)

Floats = NDArray[np.float64]


def memory(
    runs: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    metric: str = "test_accuracy",
    level: float = 0.95,
    permutations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Memory of every recipe: how far apart the seed means at the best and the worst σw are.

    Parameters
    ----------
    runs
        The runs frame of a store.
    recipes
        Those wanted, from `find_recipes(runs)`; all by default.
    metric
        The summary metric of the returned predictor.
    level
        Confidence level of the interval.
    permutations
        Draws for the p value and the noise; the smallest possible p value is 1/(draws + 1).
    seed
        Decides these draws.

    Returns
    -------
    DataFrame
        One row per recipe, in units of the metric (fractions, so × 100 for pp):
        recipe; memory (the paper's definition); corrected (cross-validated: unbiased where there is
        no memory; may be negative; NaN for one seed); low, high (interval for the true memory);
        bias (memory − corrected); noise_spread (what `memory` would be on average without any
        memory, from the noise in this recipe); p_value (of no memory, by permuting σw within seeds;
        NaN for one seed); sigma_w_top, sigma_w_bottom and mean_top, mean_bottom (the extreme σw
        and their means); runs, seeds, scales that went in; diverged runs left out, scales_lost (σw
        at which all runs diverged). See `analysis.estimates.spread` for methods and measured
        coverage.
    """
    values = runs[metric].to_numpy(dtype=np.float64)
    chosen = find_recipes(runs) if recipes is None else recipes
    streams = np.random.default_rng(seed).spawn(len(chosen))
    rows = [
        {"recipe": recipe.label}
        | estimate(recipe.pivot(values), recipe.scales, rng, level=level, permutations=permutations)
        | _left_out(recipe)
        for recipe, rng in zip(chosen, streams, strict=True)
    ]
    return pd.DataFrame(rows)


def estimate(
    values: Floats,
    scales: Floats,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    permutations: int = 2000,
) -> dict[str, Any]:
    """Memory of one array (S, G) over the σw `scales`, with the columns of `memory`."""
    plain = extremes(values)
    validated = cross_validated(values, rng)
    low, high = interval(values, plain, validated, level)
    means = seed_means(values)
    found = plain.top >= 0
    return {
        "memory": plain.spread,
        "corrected": validated,
        "low": low,
        "high": high,
        "bias": plain.spread - validated,
        "noise_spread": _noise_spread(values, permutations, rng) if found else math.nan,
        "p_value": p_value(values, permutations, rng) if found else math.nan,
        "sigma_w_top": scales[plain.top] if found else math.nan,
        "sigma_w_bottom": scales[plain.bottom] if found else math.nan,
        "mean_top": means[plain.top] if found else math.nan,
        "mean_bottom": means[plain.bottom] if found else math.nan,
        "runs": int(np.isfinite(values).sum()),
        "seeds": int(np.isfinite(values).any(0).sum()),
        "scales": int(np.isfinite(values).any(1).sum()),
    }


def p_value(values: Floats, permutations: int, rng: np.random.Generator) -> float:
    """Probability of a spread this large if σw had no effect; NaN for one seed.

    A single seed's spread is the same in every order, so it can tell nothing.
    """
    if np.isfinite(values).any(0).sum() < 2:
        return math.nan
    observed = extremes(values).spread
    drawn = permuted_spreads(values, permutations, rng)
    # Equal spreads differ by rounding, as they are summed in another order.
    as_large = drawn >= observed - 1e-12 * max(1.0, abs(observed))
    return float((1 + as_large.sum()) / (1 + permutations))


def _noise_spread(values: Floats, permutations: int, rng: np.random.Generator) -> float:
    left = noise(values)
    if not np.isfinite(left).any():
        return math.nan
    return float(permuted_spreads(left, permutations, rng).mean())


def _left_out(recipe: Recipe) -> dict[str, int]:
    there = recipe.rows >= 0
    lost = there.any(1) & ~(there & ~recipe.diverged).any(1)
    return {"diverged": recipe.diverged_count, "scales_lost": int(lost.sum())}
