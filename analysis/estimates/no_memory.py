"""What noise alone makes: a test of no memory, and the spread to expect without any.

Seeds differ more at some σw than at others, most often at large ones. So runs of one seed are not
exchangeable even where σw has no effect on their mean, and permuting them under the plain spread
rejects in 18 % of recipes without memory instead of 5 % (noise growing tenfold over 25 σw, 5
seeds). Under a *studentized* statistic, Welch's and James's Σ w (m − m̄)² with w = 1/variance of the
mean at that σw, the permutation test is right in the limit of many seeds, and exact where runs are
exchangeable (Janssen 1997; Chung and Romano 2013). With 10 seeds it rejects in 3 to 6 % of the
worlds of `benchmarks.coverage`, with 8 in 6 to 9 %, with 5 in up to 14 %, with 3 in up to 16 %:
below `FEWEST_SEEDS` no p value is given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from analysis.estimates.spread import seed_adjusted

Floats = NDArray[np.float64]
FEWEST_SEEDS = 8
# A variance of few equal accuracies may be 0; a share of the mean variance keeps weights finite.
LEAST_VARIANCE = 1e-3


def p_value(values: Floats, draws: int, rng: np.random.Generator) -> float:
    """Probability of means that differ this much over σw if they were equal.

    Parameters
    ----------
    values
        Shape (S, G); NaN is a missing run.
    draws
        Permutations of σw within each seed; the smallest possible p value is 1/(draws + 1).
    rng
        Draws them.

    Returns
    -------
    float
        NaN with fewer than `FEWEST_SEEDS` runs at some σw, or fewer than two σw.
    """
    values = _used(values)
    counts = np.isfinite(values).sum(1)
    if len(values) < 2 or counts.min() < FEWEST_SEEDS:
        return math.nan
    levels = _seed_centred(values)
    observed = _welch_james(levels[None])[0]
    drawn = _welch_james(_permuted(levels, draws, rng))
    # Equal statistics differ by rounding, as they are summed in another order.
    as_large = drawn >= observed * (1 - 1e-9)
    return float((1 + as_large.sum()) / (1 + draws))


def noise_spread(values: Floats, draws: int, rng: np.random.Generator) -> float:
    """What the plain spread would be on average without memory, at the noise of each σw.

    Parameters
    ----------
    values, draws, rng
        As in `p_value`; means of noise are drawn as normal.

    Returns
    -------
    float
        NaN where no σw, or but one, has two runs.
    """
    values = _used(values)
    counts = np.isfinite(values).sum(1)
    variances = noise_variances(values)
    there = np.isfinite(variances)
    if there.sum() < 2:
        return math.nan
    errors = np.sqrt(variances[there] / counts[there])
    return float(np.ptp(rng.standard_normal((draws, errors.size)) * errors, axis=1).mean())


def noise_variances(values: Floats) -> Floats:
    """Variance over runs at each σw, shape (S,), without what a seed does to all σw alike.

    Subtracting a seed's mean takes 1/S of a σw's own variance and puts in 1/S of the mean one; that
    is undone. With two σw their variances cannot be told apart: each is half of the difference's.
    NaN at σw with fewer than two runs.
    """
    centred = _seed_centred(values)
    counts = np.isfinite(centred).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.nansum(centred, axis=1) / counts
        observed = np.nansum((centred - means[:, None]) ** 2, axis=1) / (counts - 1)
    observed[counts < 2] = np.nan
    scales = int((counts > 1).sum())
    if scales < 2:
        return np.full(len(values), np.nan)
    mean = float(np.nanmean(observed)) * scales / (scales - 1)
    if scales == 2:
        return np.where(np.isfinite(observed), mean, np.nan)
    own = (observed - mean / scales) / (1 - 2 / scales)
    return np.asarray(np.maximum(own, LEAST_VARIANCE * mean), dtype=np.float64)


def _used(values: Floats) -> Floats:
    """The σw and seeds that have runs."""
    here = np.isfinite(values)
    return values[here.any(1)][:, here.any(0)]


def _seed_centred(values: Floats) -> Floats:
    adjusted = seed_adjusted(values)
    here = np.isfinite(adjusted)
    if not here.all():
        return adjusted  # a seed's mean over some σw is no level of its own
    return np.asarray(adjusted - adjusted.mean(0), dtype=np.float64)


def _permuted(levels: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """`levels` (S, G) with σw permuted within each seed, shape (draws, S, G)."""
    shuffled = np.full((draws, *levels.shape), np.nan)
    for g, seed in enumerate(levels.T):
        here = np.isfinite(seed)
        shuffled[:, here, g] = rng.permuted(np.tile(seed[here], (draws, 1)), axis=1)
    return shuffled


def _welch_james(levels: Floats) -> Floats:
    """Σ w (m − m̄)² of arrays (draws, S, G), shape (draws,)."""
    here = np.isfinite(levels)
    counts = here.sum(2)
    filled = np.where(here, levels, 0.0)
    means = filled.sum(2) / counts
    variances = ((filled - means[:, :, None]) ** 2 * here).sum(2) / (counts - 1)
    variances = np.maximum(variances, LEAST_VARIANCE * variances.mean(1, keepdims=True))
    # Without any noise every difference is infinitely many errors, and 0/0 is none.
    weights = counts / np.maximum(variances, 1e-200)
    middle = (weights * means).sum(1) / weights.sum(1)
    return np.asarray((weights * (means - middle[:, None]) ** 2).sum(1), dtype=np.float64)
