"""Least-squares slopes with the seed as the cluster, for many epochs at once.

The same seeds recur at every σw, so a recipe's runs are not independent: what is independent is the
seeds. The standard errors are the cluster-robust ones with the CR1 correction G/(G−1)·(N−1)/(N−2)
and Student's t with G−1 degrees of freedom (Cameron and Miller 2015, "A practitioner's guide to
cluster-robust inference", §II and VI.A). Where every seed has a run at every σw, this is the t
interval of the seeds' own slopes, up to (N−1)/(N−2): exact for normal errors at any G ≥ 2. They
equal `statsmodels.OLS(...).fit(cov_type="cluster")`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Slopes of y on x; each array of shape (E,) but for `by_seed`.

    Attributes
    ----------
    slope, intercept
        Least-squares estimates; NaN with fewer than two different x.
    standard_error
        Of the slope, seed-clustered; classical where only one seed is there; NaN where neither
        can be had.
    degrees_of_freedom
        G − 1, or N − 2 for a single seed.
    runs, seeds, scales
        How many runs, seeds and rows of x went in.
    by_seed
        Shape (G, E): each seed's share, slope + G × its influence. Their mean is the slope, and
        their standard deviation over √G its standard error without (N−1)/(N−2); where no run is
        missing they are the seeds' own slopes. NaN where the seed has no run.
    """

    slope: Floats
    intercept: Floats
    standard_error: Floats
    degrees_of_freedom: Floats
    runs: NDArray[np.int64]
    seeds: NDArray[np.int64]
    scales: NDArray[np.int64]
    by_seed: Floats

    def half_width(self, level: float) -> Floats:
        """Half the width of the interval at a confidence level such as 0.95, shape (E,)."""
        quantile = stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom)
        return np.asarray(quantile * self.standard_error, dtype=np.float64)


def cluster_slopes(x: Floats, y: Floats) -> Slopes:
    """The slope of y on x for every epoch.

    Parameters
    ----------
    x
        Shape (S, 1), the same for every seed, or (S, G).
    y
        Shape (S, G, E). NaN (in x or y) is a missing run, epoch by epoch.
    """
    x3 = np.broadcast_to(x, y.shape[:2])[:, :, None]
    here = np.isfinite(y) & np.isfinite(x3)
    n = here.sum((0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        x_mean = np.where(here, x3, 0).sum((0, 1)) / n
        y_mean = np.where(here, y, 0).sum((0, 1)) / n
        x_off, y_off = np.where(here, x3 - x_mean, 0), np.where(here, y - y_mean, 0)
        spread = (x_off**2).sum((0, 1))
        # Scatter of x that is rounding error alone is no scatter.
        spread[spread <= 1e-24 * np.where(here, x3**2, 0).sum((0, 1))] = np.nan
        slope = (x_off * y_off).sum((0, 1)) / spread
        residual = y_off - slope * x_off
        influence = (x_off * residual).sum(0) / spread
        has_seed = here.any(0)
        seeds = has_seed.sum(0)
        clustered = _clustered(influence, n, seeds)
        classical = np.sqrt((residual**2).sum((0, 1)) / _positive(n - 2) / spread)
    alone = seeds == 1
    return Slopes(
        slope=slope,
        intercept=y_mean - slope * x_mean,
        standard_error=np.where(alone, classical, clustered),
        degrees_of_freedom=_positive(np.where(alone, n - 2, seeds - 1)),
        runs=n,
        seeds=seeds,
        scales=here.any(1).sum(0),
        by_seed=np.where(has_seed, slope + seeds * influence, np.nan),
    )


def _clustered(influence: Floats, n: NDArray[np.int64], seeds: NDArray[np.int64]) -> Floats:
    small_sample = seeds / _positive(seeds - 1) * (n - 1) / _positive(n - 2)
    return np.asarray(np.sqrt(small_sample * (influence**2).sum(0)), dtype=np.float64)


def _positive(count: NDArray[np.int64]) -> Floats:
    return np.where(count > 0, count, np.nan)
