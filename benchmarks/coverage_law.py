"""Recipes that follow a forgetting law, and whether its interval holds the truth (`coverage`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.estimates.law_fit import fit
from analysis.estimates.spread import cross_validated, extremes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LawWorld:
    """Recipes about a law.

    Attributes
    ----------
    middle
        log10 memory in the middle of the clock.
    scatter
        Of recipes about the law, in decades.
    growth
        By what noise grows over σw.
    added
        Standard deviation of what a seed adds to the memory of all recipes.
    tilt
        That of the part by which a seed multiplies memory, times the log of the clock.
    """

    middle: float
    scatter: float = 0.15
    growth: float = 1.0
    added: float = 0.0
    tilt: float = 0.0


def accuracies(
    rng: np.random.Generator, seeds: int, means: Floats, growth: float, sd: float
) -> Floats:
    """Runs at ascending σw whose sd grows by a factor up to `sd`, with a seed effect: (S, G)."""
    spread = sd * np.linspace(1 / growth, 1, means.size)[:, None]
    common = sd * rng.standard_normal(seeds)
    return means[:, None] + common + spread * rng.standard_normal((means.size, seeds))


def law_slope_held(rng: np.random.Generator, seeds: int, world: LawWorld) -> bool:
    """Whether the interval of the slope of 12 recipes on one clock holds −1, the truth."""
    clock, place = np.linspace(-1, 1, 12), np.linspace(0, 1, 5)
    memories = 10 ** (world.middle - clock + world.scatter * rng.standard_normal(12))
    common = rng.standard_normal(seeds)
    found, error, shares = np.empty(12), np.empty(12), np.empty((12, seeds))
    for i, memory in enumerate(memories):
        values = accuracies(rng, seeds, -memory * place, world.growth, 0.01)
        values -= place[:, None] * (world.added + world.tilt * memory * clock[i]) * common
        found[i] = cross_validated(values, rng)
        left = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
        variance = (left**2).sum() / (4 * (seeds - 1))  # 5 σw
        error[i] = math.sqrt(2 * variance / seeds)  # of a difference of two means
        ends = extremes(values)
        shares[i] = values[ends.top] - values[ends.bottom]
    law = fit(np.column_stack([np.ones(12), clock]), found, error, shares)
    half = law.half_widths(np.array([[0.0, 1.0]]), 0.95)[0]
    return bool(abs(law.coefficients[1] + 1) <= half)
