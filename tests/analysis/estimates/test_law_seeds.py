from __future__ import annotations

import numpy as np
import pytest
from synthetic_frames import Truth, frames

from analysis.estimates.law_fit import fit
from analysis.estimates.law_seeds import common_seeds, seed_shares, shared_covariance
from analysis.estimates.memory import memory
from analysis.estimates.recipes import find_recipes

CLOCK = np.linspace(-1, 1, 12)
DESIGN = np.column_stack([np.ones(12), CLOCK])


def test_what_seeds_share_is_a_jackknife_over_seeds_less_what_recipes_have_alone() -> None:
    rng = np.random.default_rng(0)
    weights, shares = rng.standard_normal((2, 12)), rng.standard_normal((12, 5))
    without = np.array([weights @ np.delete(shares, g, 1).mean(1) for g in range(5)])
    jackknife = 4 * np.cov(without.T, ddof=0)
    alone = weights @ np.diag(shares.var(1, ddof=1) / 5) @ weights.T
    np.testing.assert_allclose(shared_covariance(weights, shares), jackknife - alone)


def test_recipes_without_a_common_seed_share_nothing() -> None:
    shares = np.full((2, 4), np.nan)
    shares[0, :2], shares[1, 2:] = (1.0, 3.0), (2.0, 5.0)
    assert common_seeds(shares) == 0
    np.testing.assert_array_equal(shared_covariance(np.ones((1, 2)), shares), [[0.0]])


def test_of_two_recipes_the_seeds_that_both_have_are_shared() -> None:
    # Covariance of the means of {1, 3, 5} and {2, 6}, both of which have the first two seeds.
    shares = np.array([[1.0, 3.0, 5.0], [2.0, 6.0, np.nan]])
    assert common_seeds(shares) == 2
    expected = ((1 - 3) * (2 - 4) + (3 - 3) * (6 - 4)) / np.sqrt(3 * 2 * 2 * 1)
    found = shared_covariance(np.ones((1, 2)), shares)
    np.testing.assert_allclose(found, [[2 * expected]])


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_a_slope_that_seeds_tilt_in_all_recipes(seeds: int) -> None:
    rng = np.random.default_rng(1)
    held, held_if_independent, slope = [], [], np.array([[0.0, 1.0]])
    for _ in range(80):
        truth = 10 ** (-1 - CLOCK + 0.1 * rng.standard_normal(12))
        tilt = 1 + CLOCK[:, None] * rng.standard_normal(seeds)
        shares = truth[:, None] * tilt + 0.005 * rng.standard_normal((12, seeds))
        error = np.full(12, 0.005 / np.sqrt(seeds))
        for shared, hits in ((shares, held), (None, held_if_independent)):
            law = fit(DESIGN, shares.mean(1), error, shared)
            half = law.half_widths(slope, 0.95)[0]
            hits.append(abs(law.coefficients[1] + 1) <= half)
    assert np.mean(held) >= 0.88  # of 95 %, 3 binomial errors below
    assert np.mean(held_if_independent) <= 0.8


def test_seeds_that_share_nothing_leave_intervals_nearly_as_they_were() -> None:
    rng, ratios = np.random.default_rng(2), []
    for _ in range(40):
        truth = 10 ** (-1 - CLOCK + 0.1 * rng.standard_normal(12))
        shares = truth[:, None] + 0.01 * rng.standard_normal((12, 5))
        error = np.full(12, 0.01 / np.sqrt(5))
        wide, narrow = (
            fit(DESIGN, shares.mean(1), error, shared).half_widths(DESIGN, 0.95)
            for shared in (shares, None)
        )
        ratios.append(wide / narrow)
    assert np.min(ratios) > 0.9  # more degrees of freedom, never a smaller error
    assert np.mean(ratios) < 1.15


def test_shares_average_to_the_memory_of_each_recipe() -> None:
    truth = Truth(test_accuracy=lambda config, s: 0.9 - 2e-3 * config.batch_size * s)
    recipes = [{"batch_size": 16}, {"batch_size": 64}]
    runs, _ = frames(recipes, truth, np.random.default_rng(0))
    found = seed_shares(runs, find_recipes(runs))
    assert list(found.columns) == [0, 1, 42, 123, 456]
    table = memory(runs, permutations=1).set_index("recipe")
    np.testing.assert_allclose(found.mean(axis=1), table.loc[found.index, "memory"])
