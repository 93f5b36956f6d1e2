"""What claims are about: a number of a recipe with its interval, from arrays over σw and seeds.

A seed recurs at every σw and in every recipe, so each number comes with one share per seed, and its
noise is that of the shares (t with n − 1 degrees of freedom). A difference takes the seeds in
common pairwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.cluster_slope import cluster_slopes
from analysis.estimates.spread import cross_validated, extremes, spread_error

Floats = NDArray[np.float64]
LATE = 10  # the late epochs are the last tenth


@dataclass(frozen=True)
class Quantity:
    """A kind of number.

    Attributes
    ----------
    unit
        The unit it is given in.
    factor
        From the stored unit to that one.
    of
        A 'run' has it at every σw, a 'recipe' once.
    linear
        Whether two can be subtracted.
    """

    unit: str
    factor: float = 1.0
    of: Literal["run", "recipe"] = "recipe"
    linear: bool = True


QUANTITIES = {
    "spread": Quantity("pp", 100),
    "norm_slope": Quantity("log/log"),
    "beta_late": Quantity("1/σw"),
    "beta_kept": Quantity("ratio", linear=False),
    "test_accuracy": Quantity("%", 100, of="run"),
    "train_accuracy_best": Quantity("%", 100, of="run"),
    "train_accuracy_final": Quantity("%", 100, of="run"),
    "best_epoch": Quantity("epochs", of="run"),
    "interpolation_epoch": Quantity("epochs", of="run"),
    "best_minus_interpolation": Quantity("epochs", of="run"),
    "repair_gap": Quantity("pp", 100, of="run"),
    "trainable_parameters": Quantity("million", 1e-6, of="run"),
}


def check_quantity(name: str, unit: str) -> None:
    """Refuse a claim on a quantity that there is not, or in another unit.

    Raises
    ------
    ValueError
        Naming what there is.
    """
    if name not in QUANTITIES:
        raise ValueError(f"a quantity of {', '.join(QUANTITIES)}, got {name}")
    if unit != QUANTITIES[name].unit:
        raise ValueError(f"{name} is in {QUANTITIES[name].unit}, got unit {unit}")


class Measured(Protocol):
    """A number with an interval at any confidence level."""

    @property
    def value(self) -> float:
        """The estimate."""
        ...

    @property
    def n(self) -> int:
        """Seeds that went in; 0 for arithmetic."""
        ...

    @property
    def corrected(self) -> float:
        """The estimate without its bias."""
        ...

    def interval(self, level: float) -> tuple[float, float]:
        """Its interval."""
        ...


@dataclass(frozen=True)
class Exact:
    """A number without noise."""

    value: float
    n: int = 0

    @property
    def corrected(self) -> float:
        """The number itself, as it has no bias."""
        return self.value

    def interval(self, level: float) -> tuple[float, float]:  # noqa: ARG002
        """The number at both ends, as it has no noise."""
        return self.value, self.value


@dataclass(frozen=True, eq=False)
class Statistic:
    """A mean over seeds, perhaps with a bias that is known to lie between two values.

    Attributes
    ----------
    value
        The estimate by the paper's definition.
    low_center, high_center
        What the ends of the interval are measured from; `value` where there is no bias.
    low_shares, high_shares
        Each seed's share, shape (G,), whose scatter is the error of that end.
    floor
        Below which no true value lies.
    """

    value: float
    low_center: float
    high_center: float
    low_shares: Floats
    high_shares: Floats
    floor: float = -math.inf

    @classmethod
    def mean_of(cls, by_seed: Floats) -> Statistic:
        """The plain mean."""
        mean = float(by_seed.mean())
        return cls(mean, mean, mean, by_seed, by_seed)

    @property
    def n(self) -> int:
        """Seeds."""
        return int(self.low_shares.size)

    @property
    def corrected(self) -> float:
        """The estimate less its bias, as far as that is known."""
        return self.low_center

    def interval(self, level: float) -> tuple[float, float]:
        """[low center − t·SE, high center + t·SE], not below the floor; NaN if a share is."""
        quantile = float(stats.t.ppf(0.5 + level / 2, self.n - 1)) / math.sqrt(self.n)
        low = self.low_center - quantile * self.low_shares.std(ddof=1)
        high = self.high_center + quantile * self.high_shares.std(ddof=1)
        # NumPy's maximum keeps NaN, which Python's max may drop.
        low, high = np.maximum(self.floor, [low, high])
        return float(low), float(high)

    def times(self, factor: float) -> Statistic:
        """A positive multiple."""
        return Statistic(
            factor * self.value,
            factor * self.low_center,
            factor * self.high_center,
            factor * self.low_shares,
            factor * self.high_shares,
            factor * self.floor,
        )

    def minus(self, other: Statistic) -> Statistic:
        """The difference; the seeds of both must be the same, in the same order."""
        return Statistic(
            self.value - other.value,
            self.low_center - other.high_center,
            self.high_center - other.low_center,
            self.low_shares - other.high_shares,
            self.high_shares - other.low_shares,
        )


@dataclass(frozen=True, eq=False)
class Ratio:
    """The ratio of two means over seeds, with Fieller's (1954) interval."""

    above: Floats
    below: Floats

    @property
    def value(self) -> float:
        """The ratio of the means."""
        return float(self.above.mean() / self.below.mean())

    @property
    def n(self) -> int:
        """Seeds."""
        return int(self.above.size)

    @property
    def corrected(self) -> float:
        """The ratio itself."""
        return self.value

    def interval(self, level: float) -> tuple[float, float]:
        """All ratios r at which the mean of above − r·below may be 0; unbounded if below may be."""
        t2 = float(stats.t.ppf(0.5 + level / 2, self.n - 1)) ** 2 / self.n
        (above, cross), (_, below) = np.cov(self.above, self.below)
        a = self.below.mean() ** 2 - t2 * below
        b = self.above.mean() * self.below.mean() - t2 * cross
        c = self.above.mean() ** 2 - t2 * above
        if a <= 0:
            return -math.inf, math.inf
        root = math.sqrt(max(0.0, b * b - a * c))
        return float((b - root) / a), float((b + root) / a)


def spread(accuracy: Floats, rng: np.random.Generator) -> Statistic:
    """Memory with its interval (`analysis.estimates.spread`); accuracy (S, G) has no gaps."""
    plain = extremes(accuracy)
    validated = cross_validated(accuracy, rng)
    error = spread_error(accuracy, plain)
    assert error is not None  # a claim needs more than one seed
    wider = error.widest / error.standard_error if error.standard_error else 1.0
    shares = error.shares - plain.spread
    middle = (validated + plain.spread) / 2
    return Statistic(plain.spread, validated, middle, shares, wider * shares, floor=0.0)


def norm_slope(initial: Floats, best: Floats) -> Statistic:
    """Slope of log kernel norm at τ_best on log initial norm, both of shape (S, G)."""
    slopes = cluster_slopes(np.log(initial), np.log(best)[:, :, None])
    return Statistic.mean_of(slopes.by_seed[:, 0])


def beta_late(scales: Floats, accuracy: Floats) -> Statistic:
    """abs(β) averaged over the last tenth of the epochs, from validation accuracy (S, G, E)."""
    late = _late(scales, accuracy)
    return Statistic.mean_of(late if late.mean() >= 0 else -late)


def beta_kept(scales: Floats, accuracy: Floats) -> Ratio:
    """β averaged over the last tenth of the epochs, over β at the epoch where its mean peaks."""
    slopes = cluster_slopes(scales[:, None], accuracy)
    peak = int(np.nanargmax(np.abs(slopes.slope)))
    return Ratio(_late(scales, accuracy), slopes.by_seed[:, peak])


def _late(scales: Floats, accuracy: Floats) -> Floats:
    epochs = max(1, accuracy.shape[2] // LATE)
    last = accuracy[:, :, -epochs:].mean(2, keepdims=True)
    return np.asarray(cluster_slopes(scales[:, None], last).by_seed[:, 0], dtype=np.float64)
