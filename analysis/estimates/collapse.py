"""Do the β(t) of several batch sizes fall together on a clock? A number for each axis, with a test.

Das et al. 2026, §4.2, shows it as a picture; here a collapse is measured by Houdayer and Hartmann's
S and by the unexplained part of the variance (`master_curve`), on log abs(β) with its error
SE/abs(β). Points below two standard errors say nothing in a logarithm and are left out. The axis of
epochs is the null: a clock has to do better than it on the same points.

Guards against a collapse that is none: too little overlap of the curves along the axis, and curves
that are flat within their errors or over less than 0.3 decades, or change the sign of β, are
answered with 'undetermined'; and where one axis is only less bad than the epochs, that is not
called a collapse. Errors of seed means do not know how far a clock is an approximation: S counts
0.05 decades beside them, and the distance of the curves is given in decades, too.

Uncertainty is that of the seeds, resampled jointly in all curves, since the same seeds recur in
every recipe: the bootstrap's standard error of a logarithm, times √(G/(G−1)), and Student's t with
G − 1 degrees of freedom.

Measured on 60 simulated groups of 4 batch sizes (16 to 128) for each of 3, 5 and 10 seeds and two
sizes of noise (5 and 20 % of the peak at one run and epoch): the true clock is said to collapse in
57 to 100 % of groups at 3 seeds and in 92 to 100 % from 5 on; T_SGD never where T_adapt or the
epochs are true, nor the other way round; and where the curves fall on no axis, each of these
is in at most 1 of 360 groups. On the true clock the median of S is 1.0 to 1.4 from 5 seeds on and
about 2 at 3, as errors estimated from few seeds are often too small. 'better' without collapse says
little: it is given to a wrong clock that is nearer the truth than the epochs are, and, where
no clock is right, by chance in 10 to 28 % of groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.clock_axis import AXES, Axis
from analysis.estimates.collapse_points import Points, points_of
from analysis.estimates.master_curve import (
    MasterCurve,
    distance,
    master_curve,
    quality,
    unexplained,
)
from analysis.estimates.sensitivity import SensitivityCurve

Floats = NDArray[np.float64]
NULL: Axis = "epoch"
DECADE = math.log(10)
FEWEST_SEEDS = 3  # with two, t has one degree of freedom: its intervals hold nearly everything


# --- what a collapse has to satisfy ---
@dataclass(frozen=True)
class Limits:
    """What a collapse has to satisfy.

    Attributes
    ----------
    overlap
        Least part of the points that other curves surround.
    contrast
        Least standard deviation of log abs(β), in errors of a point.
    span
        Least range of abs(β), its 5th to its 95th percentile, in decades.
    floor
        What S counts beside the error of a point, in decades.
    unexplained
        Largest unexplained part of the variance.
    significance
        β of a point in standard errors, below which the point is left out.
    """

    overlap: float = 0.5
    contrast: float = 2.0
    span: float = 0.3
    floor: float = 0.05
    unexplained: float = 0.1
    significance: float = 2.0


# --- the test on every axis ---
def collapse(
    group: Sequence[SensitivityCurve],
    *,
    seed: int = 0,
    limits: Limits | None = None,
    resamples: int = 500,
    points: int = 40,
    level: float = 0.95,
    constant_rate: bool = False,
    corrected: bool = False,
) -> pd.DataFrame:
    """How well curves fall together on each axis.

    Parameters
    ----------
    group
        At least two curves, best of recipes that differ in their batch size alone.
    seed
        Decides the resampling.
    limits
        When a collapse is called one.
    resamples
        Bootstrap samples of the seeds.
    points
        Epochs of each curve that are used, evenly along log epoch.
    level
        Confidence level.
    constant_rate
        Clocks by the paper's own arithmetic.
    corrected
        Take the root of β² − SE², which noise does not raise, instead of abs(β).

    Returns
    -------
    DataFrame
        One row per axis: axis, verdict ('collapses'; 'better' than epochs, but no collapse; 'no
        better'; 'undetermined' with reason); quality (S, near 1 within errors), quality_low,
        quality_high; unexplained; null_quality and null_unexplained (the epochs', on the same
        points); log_ratio = log(S/S of the epochs) with low, high and p_value (one-sided, of no
        improvement); overlap (part of the points between points of other curves), lowest_overlap
        (of any curve), contrast (sd of log abs(β) over its error), resolved (part of the points
        above the noise); curves, points, seeds.
    """
    limits = Limits() if limits is None else limits
    found = points_of(
        group, points, limits.significance, constant_rate=constant_rate, corrected=corrected
    )
    weights = _weights(found.by_seed.shape[0], resamples, np.random.default_rng(seed))
    rows = [_axis_row(found, axis, weights, level, limits) for axis in AXES]
    shared = {"resolved": found.resolved, "curves": len(group), "seeds": found.by_seed.shape[0]}
    return pd.DataFrame([row | shared for row in rows])


# --- one axis: guards first, then the measures ---
def _axis_row(
    points: Points, axis: Axis, weights: Floats, level: float, limits: Limits
) -> dict[str, Any]:
    row: dict[str, Any] = {"axis": axis, "verdict": "undetermined", "reason": ""}
    x = points.axes[axis]
    if points.by_seed.shape[0] < FEWEST_SEEDS:
        return row | {"reason": f"fewer than {FEWEST_SEEDS} seeds in common"}
    if np.unique(points.curve).size < 2:
        return row | {"reason": "fewer than two curves rise above their noise"}
    if points.changes_sign:
        return row | {"reason": "β changes its sign"}
    if (x <= 0).any():
        return row | {"reason": "the clock stands still"}
    error = np.hypot(points.error, limits.floor * DECADE)
    master = master_curve(np.log(x), error, points.curve)
    row |= _overlap(points, master)
    if row["overlap"] < limits.overlap:
        return row | {"reason": f"overlap {row['overlap']:.2f} is below {limits.overlap:g}"}
    null = master_curve(np.log(points.axes[NULL]), error, points.curve)
    row |= _measure(points, error, master, null, weights, level)
    if row["contrast"] < limits.contrast:
        return row | {
            "reason": f"flat: contrast {row['contrast']:.2f} is below {limits.contrast:g}"
        }
    if row["span"] < limits.span:
        return row | {
            "reason": f"flat: abs(β) spans {row['span']:.2f} decades, of {limits.span:g} needed"
        }
    return row | {"verdict": _verdict(row, limits)}


def _overlap(points: Points, master: MasterCurve) -> dict[str, float]:
    by_curve = [master.inside[points.curve == c].mean() for c in np.unique(points.curve)]
    return {
        "overlap": float(master.inside.mean()),
        "lowest_overlap": float(min(by_curve)),
        "points": int(master.inside.sum()),
    }


def _measure(
    points: Points,
    error: Floats,
    master: MasterCurve,
    null: MasterCurve,
    weights: Floats,
    level: float,
) -> dict[str, float]:
    seeds = points.by_seed.shape[0]
    y = points.log(np.full((1, seeds), 1 / seeds))[:, 0]
    samples = points.log(weights)
    # An axis and the epochs are compared on the same points, or the easier ones would win.
    both = master.inside & null.inside
    own, own_samples = (quality(v, error, master, master.inside) for v in (y, samples))
    ratio, ratio_samples = (
        np.log(quality(v, error, master, both) / quality(v, error, null, both))
        for v in (y, samples)
    )
    quantile = float(stats.t.ppf(0.5 + level / 2, seeds - 1))
    # A bootstrap mean of n values varies by (n − 1)/n too little.
    inflate = math.sqrt(seeds / (seeds - 1))
    # S is positive and skewed: its interval is symmetric in the logarithm.
    spread = math.exp(quantile * inflate * float(np.log(own_samples).std(ddof=1)))
    half = inflate * float(ratio_samples.std(ddof=1))
    measured = y[master.inside]
    p_value = float(stats.t.cdf(ratio / half, seeds - 1)) if half > 0 else math.nan
    return {
        "quality": float(own),
        "quality_low": float(own) / spread,
        "quality_high": float(own) * spread,
        "unexplained": unexplained(y, points.error, master, master.inside),
        "distance": distance(y, points.error, master, master.inside) / DECADE,
        "null_quality": float(quality(y, error, null, both)),
        "null_unexplained": unexplained(y, points.error, null, both),
        "null_distance": distance(y, points.error, null, both) / DECADE,
        "log_ratio": float(ratio),
        "low": float(ratio) - quantile * half,
        "high": float(ratio) + quantile * half,
        "p_value": p_value,
        "span": float(np.diff(np.quantile(measured, [0.05, 0.95]))[0]) / DECADE,
        "contrast": float(measured.std() / np.sqrt((points.error[master.inside] ** 2).mean())),
    }


def _verdict(row: dict[str, Any], limits: Limits) -> str:
    together = row["unexplained"] <= limits.unexplained
    if row["axis"] == NULL:
        return "collapses" if together else "no better"
    if row["high"] >= 0:
        return "no better"
    return "collapses" if together else "better"


# --- resampling ---
def _weights(seeds: int, resamples: int, rng: np.random.Generator) -> Floats:
    if seeds == 0:
        return np.zeros((resamples, 0))
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
