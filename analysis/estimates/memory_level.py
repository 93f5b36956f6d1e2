"""Half of the largest memory: above it a recipe remembers, below it forgets."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
LEAST_MEMORY = 0.01  # a fraction: below a point of accuracy nothing is called memory


def half_of_largest(recipes: pd.DataFrame, confidence: float = 0.95) -> float:
    """Half of the largest memory that is above its noise; NaN where there is none.

    Of many recipes without memory the interval of one is above 0 by chance. Here a memory counts
    that is above 0 after Holm's correction over all recipes, and not less than `LEAST_MEMORY`.

    Parameters
    ----------
    recipes
        With `corrected`, `low` and `seeds`, as from `memory.memory`.
    confidence
        Of the interval that `low` belongs to, and of the answer over all recipes.
    """
    known = recipes[np.isfinite(recipes["low"]) & (recipes["seeds"] > 1)]
    found, low = (known[name].to_numpy(dtype=np.float64) for name in ("corrected", "low"))
    freedom = known["seeds"].to_numpy(dtype=np.float64) - 1
    clear = (low > 0) & (found > low)
    quantile = stats.t.ppf(0.5 + confidence / 2, freedom)
    # Where the interval begins says in how many standard errors the memory is above 0.
    score = np.divide(quantile * found, found - low, out=np.zeros_like(found), where=clear)
    p_values = np.where(clear, 2 * stats.t.sf(score, freedom), 1.0)
    p_values[(low > 0) & (found <= low)] = 0.0  # without any noise
    if not p_values.size:
        return math.nan
    above = holm(p_values, 1 - confidence) & (found >= LEAST_MEMORY)
    return float(found[above].max()) / 2 if above.any() else math.nan


def holm(p_values: Floats, significance: float) -> NDArray[np.bool_]:
    """Which hypotheses Holm's (1979) step-down test rejects, at one level over all of them.

    That of statsmodels collects garbage at every call, which takes a sixth of a second.
    """
    order = np.argsort(p_values)
    steps = (p_values.size - np.arange(p_values.size)) * p_values[order]
    rejected = np.zeros(p_values.size, dtype=np.bool_)
    rejected[order] = np.maximum.accumulate(steps) <= significance
    return rejected
