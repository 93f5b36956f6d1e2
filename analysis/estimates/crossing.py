"""Smoothing along the logarithm of a clock, and where a noisy falling curve meets a level."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]


def smoother(log: Floats, x: Floats, bandwidth: float) -> Floats:
    """Weights of local lines: `values @ smoother.T` are values smoothed at `x`.

    Parameters
    ----------
    log
        Where the values stand, shape (E,).
    x
        Where they are wanted, shape (P,).
    bandwidth
        Half-width of the Epanechnikov window.

    Returns
    -------
    ndarray of shape (P, E)
        Rows sum to 1. A window without three points takes the nearest value as it is.
    """
    off = log[None, :] - x[:, None]
    weight = np.maximum(0, 1 - (off / bandwidth) ** 2)
    s0, s1, s2 = (np.sum(weight * off**k, axis=1, keepdims=True) for k in range(3))
    determinant = s0 * s2 - s1**2
    local = (weight > 0).sum(1, keepdims=True) >= 3
    with np.errstate(invalid="ignore", divide="ignore"):
        lines = weight * (s2 - s1 * off) / determinant
    nearest = np.zeros_like(off)
    nearest[np.arange(x.size), np.abs(off).argmin(1)] = 1.0
    return np.where(local, lines, nearest)


def first_fall(x: Floats, above: Floats) -> float:
    """Where the best decreasing curve through `above` falls to 0; inf if it never does."""
    fit = np.asarray(isotonic_regression(above, increasing=False).x)
    below = np.flatnonzero(fit <= 0)
    if not below.size:
        return math.inf
    after = int(below[0])
    return float(x[0]) if after == 0 else _between(x, fit, after)


def set_of_crossings(x: Floats, lower: Floats, upper: Floats) -> tuple[float, float]:
    """From where a curve may have fallen to 0 to where it must have, given its band."""
    may = np.flatnonzero(lower <= 0)
    if not may.size:
        return float(x[-1]), math.inf
    low = float(x[0]) if may[0] == 0 else _between(x, lower, int(may[0]))
    yet = np.flatnonzero(upper > 0)
    if not yet.size:
        return low, float(x[0])
    last = int(yet[-1])
    return low, math.inf if last == x.size - 1 else _between(x, upper, last + 1)


def _between(x: Floats, values: Floats, after: int) -> float:
    """Where the line from point `after` − 1 to `after` meets 0."""
    before, here = values[after - 1], values[after]
    part = before / (before - here) if before != here else 1.0
    return float(x[after - 1] + part * (x[after] - x[after - 1]))


def thinned(log: Floats, most: int) -> Floats:
    """At most `most` of the points, evenly along the log clock."""
    if log.size <= most:
        return log
    wanted = np.linspace(log[0], log[-1], most)
    nearest = np.unique(np.abs(log[None, :] - wanted[:, None]).argmin(1))
    return np.asarray(log[nearest], dtype=np.float64)
