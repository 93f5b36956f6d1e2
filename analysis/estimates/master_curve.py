"""Several curves, one master curve: each point against what the other curves say there.

The construction is Houdayer and Hartmann's (2004, Phys. Rev. B 70, 014418, eqs. 5 and A1–A4; after
Kawashima and Ito 1993): at the x of a point, from every other curve the two points around x are
taken; a straight line through all these, weighted by their errors, gives the master curve Y and its
error dY there. A curve's own points are never used against themselves.

For given x and errors Y is linear in y, so that it is a matrix, made once and applied to every
bootstrap sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MasterCurve:
    """The master curve at each of N points.

    Attributes
    ----------
    weights
        Sparse (N, N): Y = weights @ y.
    error
        dY, shape (N,).
    inside
        Which points lie between points of at least one other curve, shape (N,); elsewhere there
        is no master curve.
    """

    weights: sparse.csr_array
    error: Floats
    inside: NDArray[np.bool_]

    def residuals(self, y: Floats) -> Floats:
        """Differences y − Y for values of shape (N,) or (N, samples)."""
        return np.asarray(y - self.weights @ y, dtype=np.float64)


def master_curve(x: Floats, error: Floats, curve: NDArray[np.intp]) -> MasterCurve:
    """The master curve of points.

    Parameters
    ----------
    x
        Shape (N,); increasing within each curve.
    error
        Standard error of each y, above 0, shape (N,).
    curve
        Which curve each point belongs to, shape (N,).
    """
    members = [np.flatnonzero(curve == c) for c in np.unique(curve)]
    rows: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    for own in members:
        for other in members:
            if other is own or other.size < 2:
                continue
            points, left = _brackets(x[own], x[other])
            rows += [own[points], own[points]]
            columns += [other[left], other[left + 1]]
    if not rows:
        empty = sparse.csr_array((x.size, x.size), dtype=np.float64)
        return MasterCurve(empty, np.full(x.size, np.nan), np.zeros(x.size, dtype=np.bool_))
    return _lines(x, error, np.concatenate(rows), np.concatenate(columns))


def quality(y: Floats, error: Floats, master: MasterCurve, points: NDArray[np.bool_]) -> Floats:
    """Houdayer and Hartmann's S over some points: near 1 for a collapse within the errors.

    Parameters
    ----------
    y
        Shape (N,) or (N, samples).
    error
        Shape (N,).
    points
        Which to use, all of them `inside`, at least one, shape (N,).

    Returns
    -------
    ndarray of shape () or (samples,)
        Mean of (y − Y)²/(dy² + dY²).
    """
    variance = (error**2 + master.error**2)[points]
    squares = master.residuals(y)[points] ** 2
    return np.asarray((squares.T / variance).mean(-1), dtype=np.float64)


def unexplained(y: Floats, error: Floats, master: MasterCurve, points: NDArray[np.bool_]) -> float:
    """The part of the variance of y that is neither the master curve's nor the errors'.

    0 for a collapse within the errors, about 1 where the others say nothing about a curve; free of
    scale, and so comparable between axes over the same points. May be slightly negative.
    """
    total = (y[points] - y[points].mean()) ** 2 - error[points] ** 2
    left = _squares_left(y, error, master, points)
    return float(left.sum() / total.sum()) if total.sum() > 0 else float("nan")


def distance(y: Floats, error: Floats, master: MasterCurve, points: NDArray[np.bool_]) -> float:
    """Root mean square of what lies between points and the master curve beyond their errors."""
    return float(np.sqrt(max(0.0, _squares_left(y, error, master, points).mean())))


def _squares_left(
    y: Floats, error: Floats, master: MasterCurve, points: NDArray[np.bool_]
) -> Floats:
    """Squared distances less what the errors of y, and through them of Y, are expected to add."""
    expected = error**2 + master.weights.power(2) @ error**2
    return np.asarray((master.residuals(y) ** 2 - expected)[points], dtype=np.float64)


def _brackets(x: Floats, other: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Points of x that lie within `other`, and the position in `other` to their left."""
    points = np.flatnonzero((x >= other[0]) & (x <= other[-1]))
    left = np.searchsorted(other, x[points], side="right") - 1
    return points, np.minimum(left, other.size - 2)


def _lines(
    x: Floats, error: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> MasterCurve:
    weight = 1 / error[columns] ** 2
    off = x[columns] - x[rows]  # from the point itself, so that Y is the intercept
    k, kx, kxx = (np.bincount(rows, weight * off**p, minlength=x.size) for p in range(3))
    determinant = k * kxx - kx**2
    inside = np.bincount(rows, minlength=x.size) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        values = weight * (kxx[rows] - kx[rows] * off) / determinant[rows]
        own_error = np.sqrt(kxx / determinant)
    matrix = sparse.csr_array((values, (rows, columns)), shape=(x.size, x.size))
    return MasterCurve(matrix, own_error, inside)
