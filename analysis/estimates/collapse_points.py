"""The points whose collapse is measured: log abs(β) of several curves, with all axes beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.clock_axis import AXES, Axis, recipe_axes
from analysis.estimates.sensitivity import FLOOR_FACTOR, SensitivityCurve, complete_epochs

Floats = NDArray[np.float64]
SMALL = 0.1  # of the largest abs(β) of a curve
MOST_OPPOSED = 0.1  # part of a curve's points that noise may turn to the other sign


@dataclass(frozen=True, eq=False)
class Points:
    """The points of all curves, one after another.

    Attributes
    ----------
    axes
        Axis to x, shape (N,).
    curve
        Which curve, shape (N,).
    by_seed
        Shape (G, N), over the seeds that all curves have.
    resolved
        Part of the points that were kept.
    corrected
        Whether log abs(β) is that of the root of β² − SE² instead.
    changes_sign
        Whether curves differ in the sign of β, or one changes it: then log abs(β) is no one curve.
    """

    axes: dict[Axis, Floats]
    curve: NDArray[np.intp]
    by_seed: Floats
    resolved: float
    corrected: bool = False
    changes_sign: bool = False

    @property
    def standard_error(self) -> Floats:
        return _standard_error(self.by_seed)

    def log(self, weights: Floats) -> Floats:
        """Values log abs(β) for weights (samples, G) of the seeds, shape (N, samples)."""
        squared = (weights @ self.by_seed) ** 2 - self._noise
        # A sample's β may come near 0; below the floor it is noise of unknown size.
        floor = (FLOOR_FACTOR * self.standard_error) ** 2
        return np.asarray(np.log(np.maximum(squared, floor)).T / 2)

    @property
    def error(self) -> Floats:
        """Standard error of log abs(β), shape (N,)."""
        beta = self.by_seed.mean(0)
        return np.asarray(self.standard_error * np.abs(beta) / (beta**2 - self._noise))

    @property
    def _noise(self) -> Floats:
        return self.standard_error**2 * self.corrected


def points_of(
    group: Sequence[SensitivityCurve],
    count: int,
    significance: float,
    *,
    constant_rate: bool,
    corrected: bool,
) -> Points:
    """Some epochs of each curve, evenly along log epoch, where β exceeds its noise.

    Points whose β has the other sign than most are left out, too: few of them are noise.

    Parameters
    ----------
    group
        The curves; of each, the seeds that all have are used.
    count
        Epochs of each curve, at most.
    significance
        Standard errors that abs(β) must have.
    constant_rate
        Clocks by the paper's own arithmetic.
    corrected
        As in `Points`; needs a significance above 1.
    """
    seeds = group[0].recipe.seeds
    for one in group[1:]:
        seeds = np.intersect1d(seeds, one.recipe.seeds)
    x: dict[Axis, list[Floats]] = {axis: [] for axis in AXES}
    places = [_spread_out(np.flatnonzero(complete_epochs(one)), count) for one in group]
    values = [
        one.slopes.by_seed[np.isin(one.recipe.seeds, seeds)][:, chosen]
        for one, chosen in zip(group, places, strict=True)
    ]
    # Curves that share no seed have no points to compare.
    means = [v.mean(0) if seeds.size else np.zeros(v.shape[1]) for v in values]
    sign = 1.0 if sum(float(mean.sum()) for mean in means) >= 0 else -1.0
    parts, changes = [], False
    for one, chosen, by_seed, mean in zip(group, places, values, means, strict=True):
        error = _standard_error(by_seed)
        clear = (sign * mean >= significance * error) & (seeds.size > 0)
        parts.append(by_seed[:, clear])
        changes |= _opposed(-sign * mean, error, seeds.size, int(clear.sum()))
        for axis, along in recipe_axes(one.recipe, constant_rate=constant_rate).items():
            x[axis].append(along[chosen[clear]])
    sizes, total = [part.shape[1] for part in parts], sum(chosen.size for chosen in places)
    return Points(
        axes={axis: np.concatenate(along) for axis, along in x.items()},
        curve=np.repeat(np.arange(len(group)), sizes),
        by_seed=np.concatenate(parts, axis=1),
        resolved=sum(sizes) / total if total else math.nan,
        corrected=corrected,
        changes_sign=changes,
    )


def _opposed(beta: Floats, error: Floats, seeds: int, clear: int) -> bool:
    """Whether more of a curve's points than noise explains have the other sign."""
    if seeds < 2:
        return False
    # A tail that has decayed to a small β of the other sign is left out without a word.
    least = np.maximum(stats.t.ppf(0.975, seeds - 1) * error, SMALL * np.abs(beta).max(initial=0))
    against = int((beta > least).sum())
    return against > MOST_OPPOSED * (clear + against)


def _spread_out(epochs: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Some of the epochs' positions, evenly along log epoch."""
    if epochs.size <= count:
        return epochs
    places = np.geomspace(1, epochs.size, count).round().astype(np.intp) - 1
    return epochs[np.unique(places)]


def _standard_error(by_seed: Floats) -> Floats:
    count = by_seed.shape[0]
    if count < 2:
        return np.full(by_seed.shape[1], np.nan)
    return np.asarray(by_seed.std(0, ddof=1) / math.sqrt(count), dtype=np.float64)
