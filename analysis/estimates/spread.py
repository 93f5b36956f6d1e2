"""The spread of seed means over σw, its bias, and an interval for it: arrays in, numbers out.

Memory is the largest minus the smallest mean over σw (Das et al. 2026, §2). Of noisy means, that is
too large on average, by several standard errors where there is no memory at all. Against this
stand:

- the *cross-validated* spread: on one half of the seeds find the σw with the highest and the lowest
  mean, on the other half take the difference at these two, and average over all halvings. Without
  memory its mean is exactly 0. Otherwise its mean lies between 0 and the truth, since a σw picked
  from noisy means is at best the right one.
- an interval [C − t·SE, (C + M)/2 + t·SE′] with C the cross-validated and M the plain spread, which
  bracket the truth on average; SE that of the paired difference at the extreme σw, over seeds; SE′
  the root mean square of those of all pairs of σw that cannot be told apart from the extremes, if
  that is larger; t Student's with G − 1 degrees of freedom. For well separated extremes C = M, and
  this is the paired t interval. Limits are raised to 0, below which no memory lies.

Why SE′: where noise differs between σw, one of little noise is soon taken for an extreme, and its
SE says nothing of the noisier one that may be the true extreme. With SE alone coverage falls to
46 % (25 σw, 10 seeds) where the noise has its maximum in the middle.

Missing runs: means, shares and halves are taken after each seed's own level has been subtracted
(least squares for σw + seed), so that a σw is not better for having the better seeds. Standard
errors are then the jackknife's over seeds, which of whole arrays are the paired ones.

How often the interval holds the truth is measured by `python -m benchmarks.coverage` and stands in
docs/METHODS.md. The usual percentile bootstrap of M over seeds covers 0 % without memory and 0 to
92 % with it: it does not know the bias.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
MOST_HALVINGS = 300
TOLD_APART = 0.95  # level of the paired t test of a σw against the extreme one


@dataclass(frozen=True)
class Extremes:
    """The plain spread: the largest minus the smallest mean over σw.

    Attributes
    ----------
    spread
        NaN with fewer than two σw.
    top, bottom
        Positions of the two σw; −1 where there is no spread.
    """

    spread: float
    top: int
    bottom: int


# --- means over seeds ---
def extremes(values: Floats) -> Extremes:
    """The spread of the means of `values`, shape (S, G); NaN is a missing run."""
    means = seed_means(values)
    if np.isfinite(means).sum() < 2:
        return Extremes(math.nan, -1, -1)
    top, bottom = int(np.nanargmax(means)), int(np.nanargmin(means))
    return Extremes(float(means[top] - means[bottom]), top, bottom)


def seed_means(values: Floats) -> Floats:
    """Mean over seeds at each σw, (S, G) → (S,), as if each seed had a run at every σw.

    With runs missing these are the least-squares means of σw + seed; NaN where all are missing.
    """
    return _plain_means(seed_adjusted(values))


def seed_adjusted(values: Floats) -> Floats:
    """`values` (S, G) less each seed's own level, where runs are missing; else unchanged.

    Levels are those of a least-squares fit of σw + seed, and are 0 on average. Where no fit can
    compare two groups of σw, as they share no seed, levels are as small as they can be.
    """
    here = np.isfinite(values)
    if here.all() or not here.any():
        return values
    scale, seed = np.nonzero(here)
    rows = np.arange(scale.size)
    design = np.zeros((scale.size, sum(values.shape)))
    design[rows, scale] = design[rows, len(values) + seed] = 1.0
    levels = np.linalg.lstsq(design, values[here], rcond=None)[0][len(values) :]
    return np.asarray(values - (levels - levels[here.any(0)].mean()), dtype=np.float64)


def _plain_means(values: Floats) -> Floats:
    here = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(here, values, 0).sum(1) / here.sum(1), dtype=np.float64)


# --- the spread without its bias ---
def cross_validated(values: Floats, rng: np.random.Generator) -> float:
    """The spread at σw that were picked on other seeds, averaged over halvings of the seeds.

    Parameters
    ----------
    values
        Shape (S, G).
    rng
        Draws 300 halvings where there are more (from 11 seeds on); else all are used.

    Returns
    -------
    float
        May be negative; NaN with fewer than two seeds or two σw.
    """
    if values.shape[1] < 2:
        return math.nan
    values = seed_adjusted(values)
    picks = _halvings(values.shape[1], rng)
    here = np.isfinite(values)
    filled = np.where(here, values, 0).T
    with np.errstate(invalid="ignore"):
        chosen = picks @ filled / (picks @ here.T)
        other = (1 - picks) @ filled / ((1 - picks) @ here.T)
    usable = np.isfinite(chosen) & np.isfinite(other)
    enough = usable.sum(1) > 1
    if not enough.any():
        return math.nan
    top = np.where(usable, chosen, -np.inf).argmax(1)
    bottom = np.where(usable, chosen, np.inf).argmin(1)
    halving = np.arange(len(picks))
    return float((other[halving, top] - other[halving, bottom])[enough].mean())


def _halvings(seeds: int, rng: np.random.Generator) -> Floats:
    """Rows of 0 and 1: which seeds pick the σw, the larger half."""
    size = (seeds + 1) // 2
    if math.comb(seeds, size) <= MOST_HALVINGS:
        chosen = np.array(list(itertools.combinations(range(seeds), size)))
    else:
        chosen = rng.permuted(np.tile(np.arange(seeds), (MOST_HALVINGS, 1)), axis=1)[:, :size]
    rows = np.zeros((len(chosen), seeds))
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return rows


# --- its interval ---
@dataclass(frozen=True, eq=False)
class SpreadError:
    """How far noise moves the spread.

    Attributes
    ----------
    shares
        Each seed's share of the spread, shape (G,): their mean is the spread, and their standard
        deviation over √G its standard error. NaN where the seed has no run.
    standard_error
        That of the difference at the extreme σw.
    widest
        SE′ of the module's docstring, at least `standard_error`.
    degrees_of_freedom
        Runs at the extreme σw with the fewer, less one.
    """

    shares: Floats
    standard_error: float
    widest: float
    degrees_of_freedom: int


def spread_error(values: Floats, plain: Extremes) -> SpreadError | None:
    """The error of the spread `plain` of `values` (S, G); None where an extreme has but one run."""
    counts = np.isfinite(values).sum(1)
    if plain.top < 0 or min(counts[plain.top], counts[plain.bottom]) < 2:
        return None
    shares = _shares(values)
    usable = np.flatnonzero(np.isfinite(shares).any(1) & (counts > 1))
    there = shares[np.ix_(usable, np.isfinite(shares[plain.top]))]
    covariance = np.atleast_2d(np.cov(there))
    variance = np.diag(covariance)
    squared = np.maximum(variance[:, None] + variance - 2 * covariance, 0) / there.shape[1]
    top, bottom = (int(np.searchsorted(usable, place)) for place in (plain.top, plain.bottom))
    alike = _like_the_extremes(seed_means(values)[usable], np.sqrt(squared), counts[usable])
    own, widest = math.sqrt(squared[top, bottom]), math.sqrt(squared[np.ix_(*alike)].mean())
    freedom = int(min(counts[plain.top], counts[plain.bottom])) - 1
    return SpreadError(shares[plain.top] - shares[plain.bottom], own, max(own, widest), freedom)


def _like_the_extremes(
    means: Floats, errors: Floats, counts: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The σw that may be the highest, and those that may be the lowest."""

    def alike(place: int) -> NDArray[np.intp]:
        quantile = stats.t.ppf(0.5 + TOLD_APART / 2, np.minimum(counts, counts[place]) - 1)
        near = np.abs(means - means[place]) <= quantile * errors[place]
        near[place] = True
        return np.flatnonzero(near)

    return alike(int(means.argmax())), alike(int(means.argmin()))


def _shares(values: Floats) -> Floats:
    """Each seed's share of each mean (jackknife pseudo-values), shape (S, G)."""
    if np.isfinite(values).all():
        return values
    means = seed_means(values)
    there = np.isfinite(values).any(0)
    shares = np.full_like(values, np.nan)
    for g in np.flatnonzero(there):
        without = values.copy()
        without[:, g] = np.nan
        shares[:, g] = there.sum() * means - (there.sum() - 1) * seed_means(without)
    return shares


def interval(
    values: Floats, plain: Extremes, validated: float, level: float
) -> tuple[float, float]:
    """The interval of the module's docstring for the true spread.

    Parameters
    ----------
    values
        Shape (S, G).
    plain, validated
        From `extremes` and `cross_validated`.
    level
        Confidence level such as 0.95.

    Returns
    -------
    tuple of float
        NaN where an extreme σw has fewer than two runs.
    """
    error = spread_error(values, plain)
    if error is None:
        return math.nan, math.nan
    quantile = float(stats.t.ppf(0.5 + level / 2, error.degrees_of_freedom))
    middle = (validated + plain.spread) / 2
    low, high = validated - quantile * error.standard_error, middle + quantile * error.widest
    return max(0.0, low), max(0.0, high)
