"""How many seeds? From the scatter of a seed's share to interval widths and chances of a verdict.

A number of a recipe is a mean over seeds of shares with standard deviation d, and its 95 % interval
is ± t·d/√n with Student's t of n − 1 degrees of freedom. All here follows from that, for normal
shares; d is itself known from few seeds, so numbers of seeds come with one for assurance
(Kupper and Hafner 1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.recipes import Recipe
from analysis.estimates.returned import accuracy_by_recipe
from analysis.estimates.spread import extremes, spread_error

LEVEL = 0.95
ASSURANCE = 0.8
# Quantiles of the standard deviation over which a chance is averaged.
LEVELS = (np.arange(400) + 0.5) / 400


def half_width(deviation: float, seeds: int) -> float:
    """Half of the 95 % interval of a mean over `seeds` ≥ 2 shares of this standard deviation."""
    return float(stats.t.ppf(0.5 + LEVEL / 2, seeds - 1)) * deviation / math.sqrt(seeds)


def seeds_for(deviation: float, wanted: float) -> int:
    """The fewest seeds whose 95 % interval is no wider than ± `wanted` (> 0); 2 at least."""
    low, high = 1, 2
    while half_width(deviation, high) > wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(deviation, middle) <= wanted else (middle, high)
    return high


def largest_deviation(deviation: float, seeds: int) -> float:
    """The standard deviation below which the true one lies with `ASSURANCE`."""
    return deviation * math.sqrt((seeds - 1) / float(stats.chi2.ppf(1 - ASSURANCE, seeds - 1)))


def chance_inside(lower: float, upper: float, truth: float, deviation: float, seeds: int) -> float:
    """Probability that the 95 % interval lies wholly inside a range.

    Parameters
    ----------
    lower, upper
        The range; may be infinite.
    truth
        The true number, in their unit.
    deviation
        Of a seed's share, in their unit.
    seeds
        At least 2.
    """
    if deviation == 0:
        return float(lower < truth < upper)
    error = deviation / math.sqrt(seeds)
    half = half_width(deviation, seeds) * _relative_deviations(seeds)
    inside = _probability(upper - half - truth, error) - _probability(lower + half - truth, error)
    return float(np.maximum(inside, 0).mean())


def chance_of_verdict(
    lower: float, upper: float, truth: float, deviation: float, seeds: int
) -> float:
    """Probability that the 95 % interval lies wholly inside a range, or wholly outside it.

    Parameters
    ----------
    lower, upper, truth, deviation, seeds
        As in `chance_inside`.
    """
    sides = ((lower, upper), (-math.inf, lower), (upper, math.inf))
    return sum(chance_inside(*side, truth, deviation, seeds) for side in sides)


def told_apart(deviation: float, seeds: int, power: float = 0.8) -> float:
    """The difference from 0 that the 95 % interval leaves out with a probability of `power`."""
    high = half_width(deviation, seeds)
    while chance_inside(0, math.inf, high, deviation, seeds) < power:
        high *= 2
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = chance_inside(0, math.inf, middle, deviation, seeds) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def seeds_by_recipe(
    runs: pd.DataFrame,
    half_widths: Sequence[float],
    *,
    recipes: Sequence[Recipe] | None = None,
) -> pd.DataFrame:
    """How many seeds the memory of each recipe needs.

    Parameters
    ----------
    runs
        The runs frame of a store.
    half_widths
        Wanted ones of the interval, as fractions of accuracy.

    Returns
    -------
    DataFrame
        One row per recipe with two seeds or more: recipe, memory, deviation (standard deviation
        over seeds of the paired difference at the extreme σw), seeds, half_width (now), and for
        each wanted one `seeds_i` (needed) and `assured_i` (needed for it with 80 % assurance).
    """
    rows = []
    for recipe, accuracy in accuracy_by_recipe(runs, recipes):
        plain = extremes(accuracy)
        error = spread_error(accuracy, plain)
        if error is None:
            continue
        shares = error.shares[np.isfinite(error.shares)]
        deviation, seeds = float(shares.std(ddof=1)), int(shares.size)
        row: dict[str, object] = {
            "recipe": recipe.label,
            "memory": plain.spread,
            "deviation": deviation,
            "seeds": seeds,
            "half_width": half_width(deviation, seeds),
        }
        for i, wanted in enumerate(half_widths):
            row[f"seeds_{i}"] = seeds_for(deviation, wanted)
            row[f"assured_{i}"] = seeds_for(largest_deviation(deviation, seeds), wanted)
        rows.append(row)
    return pd.DataFrame(rows)


def _relative_deviations(seeds: int) -> NDArray[np.float64]:
    """Estimated over true standard deviation, at equally likely levels."""
    return np.asarray(np.sqrt(stats.chi2.ppf(LEVELS, seeds - 1) / (seeds - 1)), dtype=np.float64)


def _probability(distance: NDArray[np.float64], error: float) -> NDArray[np.float64]:
    return np.asarray(stats.norm.cdf(distance / error), dtype=np.float64)
