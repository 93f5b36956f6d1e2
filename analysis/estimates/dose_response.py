"""More than a straight line: how test accuracy falls as σw grows.

β is a slope, and a recipe that is best in the middle can have a slope of 0 and much memory. So
beside the slopes on σw and on log σw stand whether a line is enough, how much is lost between the
smallest and the largest σw, and at which σw half of that is gone.

*Lack of fit.* Each seed's accuracies are turned into its quadratic, cubic and quartic contrasts
over σw (as many as seeds allow), and Hotelling's T² asks whether their means are all 0. It is exact
for normal errors whatever their variances and correlations over σw.

*The half-way σw.* The point estimate is read off the best monotone curve through the means
(isotonic regression), straight between σw on a logarithmic axis, or on a plain one where 0 is among
them, as it may be of another perturbed setting than σw. Its interval holds every σw at
which a t test over seeds does not reject that half of the loss is reached, accuracies between two
σw taken as straight; so it is exact where they are, and may be open to a side.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import isotonic_regression

from analysis.estimates.cluster_slope import cluster_slopes
from analysis.estimates.recipes import Recipe
from analysis.estimates.returned import accuracy_by_recipe
from analysis.estimates.seed_mean import seed_mean

Floats = NDArray[np.float64]
MOST_CONTRASTS = 3
STEPS = 200  # σw between two neighbours at which half of the loss is tested


def dose_response(
    runs: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """How test accuracy of every recipe depends on σw.

    Only seeds with a run at every σw of the recipe go in.

    Returns
    -------
    DataFrame
        recipe; slope, slope_low, slope_high (accuracy per unit of σw), log_slope with its interval
        (per factor e of σw); lack_of_fit, log_lack_of_fit (p values of a straight line on σw and on
        log σw; NaN with fewer than three σw or seeds); lost, lost_low, lost_high (accuracy at the
        smallest less that at the largest σw); half, half_low, half_high (σw at which half of it is
        lost; NaN where the loss may be 0; 0 and inf are open ends); seeds, scales that went in.
        Where 0 is among the values, all on their logarithm is NaN.
    """
    rows = [
        {"recipe": recipe.label} | _of_recipe(recipe.doses, accuracy, level)
        for recipe, accuracy in accuracy_by_recipe(runs, recipes)
    ]
    return pd.DataFrame(rows)


def _of_recipe(scales: Floats, accuracy: Floats, level: float) -> dict[str, float | int]:
    complete = np.isfinite(accuracy).all(0)
    used = accuracy[:, complete]
    row: dict[str, float | int] = {}
    log = logarithms(scales)
    for name, x in (("slope", scales), ("log_slope", log)):
        found = cluster_slopes(x[:, None], used[:, :, None])
        half = float(found.half_width(level)[0])
        slope = float(found.slope[0])
        row |= {name: slope, f"{name}_low": slope - half, f"{name}_high": slope + half}
    row["lack_of_fit"] = lack_of_fit(scales, used)
    row["log_lack_of_fit"] = lack_of_fit(log, used)
    lost = seed_mean(used[0] - used[-1], level)
    row |= {"lost": lost.mean, "lost_low": lost.low, "lost_high": lost.high}
    half_way = half_loss(scales, used, level)
    row |= {"half": half_way[0], "half_low": half_way[1], "half_high": half_way[2]}
    return row | {"seeds": int(complete.sum()), "scales": len(scales)}


def logarithms(scales: Floats) -> Floats:
    """Of values that are above 0; NaN throughout where one is not."""
    if (scales > 0).all():
        return np.log(scales)
    return np.full(scales.shape, math.nan)


def lack_of_fit(x: Floats, accuracy: Floats) -> float:
    """P value of mean accuracy being a straight line in x, from arrays (S,) and (S, G).

    NaN with fewer than three x or three seeds, or an x that is not finite.
    """
    scales, seeds = accuracy.shape
    contrasts = min(MOST_CONTRASTS, scales - 2, seeds - 2)
    if contrasts < 1 or not np.isfinite(x).all():
        return math.nan
    centred = (x - x.mean()) / np.ptp(x)
    # Columns of Q are orthonormal polynomials of rising degree.
    basis = np.linalg.qr(np.vander(centred, contrasts + 2, increasing=True))[0][:, 2:]
    by_seed = basis.T @ accuracy
    mean, covariance = by_seed.mean(1), np.atleast_2d(np.cov(by_seed))
    if np.linalg.matrix_rank(covariance) < contrasts:
        return math.nan
    squared = seeds * float(mean @ np.linalg.solve(covariance, mean))
    freedom = seeds - contrasts
    return float(stats.f.sf(squared * freedom / (contrasts * (seeds - 1)), contrasts, freedom))


def half_loss(scales: Floats, accuracy: Floats, level: float) -> tuple[float, float, float]:
    """σw at which half of the accuracy is lost that is lost from the smallest to the largest.

    Returns
    -------
    tuple of float
        Estimate, low, high. All NaN where the loss is not told from 0.
    """
    none = (math.nan, math.nan, math.nan)
    if accuracy.shape[1] < 2 or len(scales) < 2:
        return none
    lost = seed_mean(accuracy[0] - accuracy[-1], level)
    if not (lost.low > 0 or lost.high < 0):
        return none
    falls = 1.0 if lost.low > 0 else -1.0
    positive = bool((scales > 0).all())
    log, back = (np.log(scales), np.exp) if positive else (scales, np.positive)
    curve = -isotonic_regression(-falls * accuracy.mean(1)).x
    middle = (curve[0] + curve[-1]) / 2
    estimate = float(back(np.interp(-middle, -curve, log)))
    fine = np.unique(np.concatenate([np.linspace(a, b, STEPS) for a, b in itertools.pairwise(log)]))
    above = np.array([np.interp(fine, log, seed) for seed in falls * accuracy.T])
    above -= falls * (accuracy[0] + accuracy[-1])[:, None] / 2
    error = above.std(0, ddof=1) / math.sqrt(len(above))
    quantile = stats.t.ppf(0.5 + level / 2, len(above) - 1)
    kept = np.flatnonzero(np.abs(above.mean(0)) <= quantile * error)
    if not kept.size:
        return estimate, estimate, estimate
    low_end = 0.0 if kept[0] == 0 else float(back(fine[kept[0]]))
    high_end = math.inf if kept[-1] == fine.size - 1 else float(back(fine[kept[-1]]))
    return estimate, min(low_end, estimate), max(high_end, estimate)
