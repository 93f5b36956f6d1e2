"""The fit of the forgetting law: memories on their own scale, the law in their logarithm.

The memory of recipe i is expected at μ_i = 10^(x_i·b) and measured with the variance

    SE_i² + (τ μ_i)²

SE_i is the noise of its seeds, τ the scatter of recipes about the law, as a part of memory. The
estimate of b is the root of the quasi-score Σ (C_i − μ_i) ∂μ_i/∂b / variance (Wedderburn 1974), τ
is where Pearson's χ² equals the recipes less the terms. A memory that is not seen enters as it was
measured, zero or negative, with its noise: nothing is put in its place. A full normal likelihood
would also read b off the variance, which is wrong where memories scatter by factors (measured: its
95 % intervals hold the slope in 80 to 93 %).

Standard errors are the larger of the model's own and the jackknife-like HC3 (MacKinnon and White
1985), with t of the recipes less the terms. To their squares comes what recipes have in common by
having the same seeds (`law_seeds`), with the degrees of freedom of the seeds; those of the sum are
Satterthwaite's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, stats
from scipy.optimize import brentq

from analysis.estimates.law_seeds import common_seeds, shared_covariance

Floats = NDArray[np.float64]
LN10 = math.log(10)
LEAST_SCATTER, MOST_SCATTER = 1e-2, 10.0
LEAST_ERROR = 1e-9  # of a memory whose noise is not known; it keeps arctan's argument finite
STEPS = 200
LEAST_MEMORY, MOST_MEMORY = -9.0, 2.0  # log10, beyond which nothing is told apart


@dataclass(frozen=True, eq=False)
class LawFit:
    """A fitted law.

    Attributes
    ----------
    coefficients
        b, shape (terms,).
    covariance
        Of b, by recipes that are independent, shape (terms, terms).
    shared
        What the seeds that recipes have in common add to it, shape (terms, terms).
    scatter
        τ, of recipes about the law, as a part of memory.
    freedom
        Recipes less terms.
    shared_freedom
        Seeds that recipes have in common, less one; at least 1.
    """

    coefficients: Floats
    covariance: Floats
    shared: Floats
    scatter: float
    freedom: int
    shared_freedom: int

    @property
    def scatter_decades(self) -> float:
        """Standard deviation of log10 memory of recipes about the law."""
        return math.sqrt(math.log1p(self.scatter**2)) / LN10

    def quantile(self, level: float) -> float:
        """Student's t for an interval of that level about the scatter of recipes."""
        return float(stats.t.ppf(0.5 + level / 2, self.freedom))

    def errors(self, design: Floats, *, scatter: float = 0.0) -> tuple[Floats, Floats]:
        """Standard errors of `design` · b and their degrees of freedom (Satterthwaite 1946).

        Parameters
        ----------
        design
            Shape (rows, terms).
        scatter
            Standard deviation of what is asked about `design` · b.
        """
        own = np.einsum("ij,jk,ik->i", design, self.covariance, design) + scatter**2
        shared = np.einsum("ij,jk,ik->i", design, self.shared, design)
        whole = own + shared
        freedom = whole**2 / (own**2 / self.freedom + shared**2 / self.shared_freedom)
        return np.sqrt(whole), freedom

    def half_widths(self, design: Floats, level: float, *, scatter: float = 0.0) -> Floats:
        """Half of the interval for each row of `design` · b, parameters as in `errors`."""
        error, freedom = self.errors(design, scatter=scatter)
        return np.asarray(stats.t.ppf(0.5 + level / 2, freedom) * error, dtype=np.float64)


def fit(design: Floats, memory: Floats, error: Floats, shares: Floats | None = None) -> LawFit:
    """The law through memories.

    Parameters
    ----------
    design
        Shape (recipes, terms), of full rank.
    memory
        Corrected memories, zero and negative ones too, shape (recipes,).
    error
        Their standard errors, shape (recipes,).
    shares
        Each seed's share of them, shape (recipes, seeds), NaN where it has none; None where no seed
        is in two recipes, whose memories are then independent about the law.
    """
    count, terms = design.shape
    error = np.maximum(error, LEAST_ERROR)
    # In orthogonal coordinates of size 1 a step has one meaning for every term.
    basis, back = np.linalg.qr(design)
    basis, back = basis * math.sqrt(count), back / math.sqrt(count)
    # Where the search begins; no number of the result depends on it.
    rough = np.log10(np.maximum(memory, np.maximum(error, memory.max() / 1e3)))
    start = np.linalg.lstsq(basis, rough, rcond=None)[0]

    def excess(log_scatter: float) -> float:
        scatter = math.exp(log_scatter)
        expected = _expected(basis, _solve(basis, memory, error, scatter, start))
        variance = error**2 + (scatter * expected) ** 2
        return float(((memory - expected) ** 2 / variance).sum() - (count - terms))

    low, high = math.log(LEAST_SCATTER), math.log(MOST_SCATTER)
    if excess(low) <= 0:
        scatter = LEAST_SCATTER
    elif excess(high) >= 0:
        scatter = MOST_SCATTER
    else:
        scatter = math.exp(float(brentq(excess, low, high, xtol=1e-4)))
    found = _solve(basis, memory, error, scatter, start)
    covariance, shared = _covariances(basis, found, memory, error, scatter, shares)
    inverse = np.linalg.inv(back)
    return LawFit(
        coefficients=inverse @ found,
        covariance=inverse @ covariance @ inverse.T,
        shared=inverse @ shared @ inverse.T,
        scatter=scatter,
        freedom=count - terms,
        shared_freedom=1 if shares is None else max(common_seeds(shares) - 1, 1),
    )


@cache
def range_factor(scales: int) -> float:
    """Expected largest less smallest of `scales` standard normal variables."""

    def beyond(x: float) -> float:
        below = float(stats.norm.cdf(x))
        return 1 - below**scales - (1 - below) ** scales

    return float(integrate.quad(beyond, -10, 10)[0])


def _expected(basis: Floats, b: Floats) -> Floats:
    return np.asarray(10 ** np.clip(basis @ b, LEAST_MEMORY, MOST_MEMORY), dtype=np.float64)


def _solve(basis: Floats, memory: Floats, error: Floats, scatter: float, start: Floats) -> Floats:
    """The root of the quasi-score by damped Fisher scoring, uphill in the quasi-likelihood."""

    def height(b: Floats) -> float:
        expected = _expected(basis, b)
        angle = np.arctan(error / (scatter * expected)) / (error * scatter)
        variance = error**2 + (scatter * expected) ** 2
        return float((-memory * angle - np.log(variance) / 2 / scatter**2).sum())

    b, here, damping = start, height(start), 1e-6
    for _ in range(STEPS):
        gradient, information = _score(basis, b, memory, error, scatter)
        ridge = damping * (np.diag(np.diag(information)) + 1e-12 * np.eye(b.size))
        step = np.clip(np.linalg.solve(information + ridge, gradient), -0.5, 0.5)
        there = height(b + step)
        if there < here - 1e-12 * abs(here):
            damping *= 10
            continue
        b, here, damping = b + step, there, max(damping / 10, 1e-9)
        if np.abs(step).max() < 1e-10:
            break
    return b


def _score(
    basis: Floats, b: Floats, memory: Floats, error: Floats, scatter: float
) -> tuple[Floats, Floats]:
    expected = _expected(basis, b)
    variance = error**2 + (scatter * expected) ** 2
    slope = LN10 * expected[:, None] * basis
    return slope.T @ ((memory - expected) / variance), slope.T @ (slope / variance[:, None])


def _covariances(
    basis: Floats,
    b: Floats,
    memory: Floats,
    error: Floats,
    scatter: float,
    shares: Floats | None,
) -> tuple[Floats, Floats]:
    """Of independent recipes, and what seeds that they have in common add."""
    expected = _expected(basis, b)
    variance = error**2 + (scatter * expected) ** 2
    slope = LN10 * expected[:, None] * basis
    information = slope.T @ (slope / variance[:, None])
    # Terms that only unseen memories carry have next to no information, and infinite errors.
    own: Floats = np.linalg.inv(information + 1e-9 * np.eye(b.size)).astype(np.float64)
    leverage = np.einsum("ij,jk,ik->i", slope, own, slope) / variance
    left = (memory - expected) / np.maximum(1 - leverage, 1e-2) / variance
    robust = own @ (slope.T * left**2) @ slope @ own
    # The larger of the two in every direction: the model's, and what the other adds to it.
    wide = _raised(robust, own, 1)
    if shares is None:
        return wide, np.zeros_like(own)
    return wide, _raised(shared_covariance(own @ slope.T / variance, shares), own, 0)


def _raised(covariance: Floats, unit: Floats, least: float) -> Floats:
    """A covariance that in every direction is at least so many times that of `unit`."""
    root = np.linalg.cholesky(unit)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ covariance @ inverse.T)
    wide = (vectors * np.maximum(values, least)) @ vectors.T
    return np.asarray(root @ wide @ root.T, dtype=np.float64)
