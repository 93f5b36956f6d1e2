"""The mean over seeds with its t interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class SeedMean:
    """A mean over `n` seeds; sd, low and high are NaN for n < 2, all are for n = 0."""

    mean: float
    sd: float
    low: float
    high: float
    n: int


def seed_mean(values: NDArray[np.float64], level: float = 0.95) -> SeedMean:
    """Mean, standard deviation (n − 1) and t interval of one value per seed; NaN is missing."""
    there = values[np.isfinite(values)]
    n = int(there.size)
    mean = float(there.mean()) if n else math.nan
    if n < 2:
        return SeedMean(mean, math.nan, math.nan, math.nan, n)
    sd = float(there.std(ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * sd / math.sqrt(n)
    return SeedMean(mean, sd, mean - half, mean + half, n)


@dataclass(frozen=True)
class SeedBands:
    """Means over `n` seeds of many things at once; what `SeedMean` has, as arrays (sd left out)."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]


def seed_bands(values: NDArray[np.float64], level: float = 0.95) -> SeedBands:
    """As `seed_mean`, along the first axis of an array."""
    there = np.isfinite(values)
    n = there.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(0) / n
        square = np.where(there, values - mean, 0.0) ** 2
        half = stats.t.ppf(0.5 + level / 2, n - 1) * np.sqrt(square.sum(0) / (n - 1) / n)
    half = np.where(n > 1, half, np.nan)
    return SeedBands(mean, mean - half, mean + half, n)
