from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.estimates.no_memory import noise_spread, noise_variances, p_value

GROWING = np.geomspace(0.2, 2, 25)


def noisy(deviations: np.ndarray, seeds: int, rng: np.random.Generator) -> np.ndarray:
    shared = rng.standard_normal((1, seeds))
    return shared + deviations[:, None] * rng.standard_normal((deviations.size, seeds))


def welch_james(values: np.ndarray) -> float:
    weights = values.shape[1] / values.var(1, ddof=1)
    means = values.mean(1)
    middle = np.average(means, weights=weights)
    return float(weights @ (means - middle) ** 2)


def test_p_value_is_that_of_all_orders_of_each_seed() -> None:
    values = np.random.default_rng(3).standard_normal((2, 8))
    values -= values.mean(0)
    observed = welch_james(values)
    orders = [
        welch_james(np.where(np.array(flips), values[::-1], values))
        for flips in itertools.product([False, True], repeat=8)
    ]
    exact = np.mean(np.array(orders) >= observed * (1 - 1e-9))
    assert p_value(values, 20_000, np.random.default_rng(0)) == pytest.approx(exact, abs=0.012)


def test_p_values_of_runs_that_are_exchangeable_are_uniform() -> None:
    rng = np.random.default_rng(0)
    found = [p_value(noisy(np.ones(5), 8, rng), 199, rng) for _ in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_noise_that_grows_tenfold_over_scales_is_no_memory() -> None:
    """The plain permutation test rejects in 18 % there; 8 % is three errors above 5 %."""
    rng = np.random.default_rng(1)
    rejected = [p_value(noisy(GROWING, 10, rng), 199, rng) <= 0.05 for _ in range(400)]
    assert 0.02 <= np.mean(rejected) <= 0.08


def test_memory_beside_that_noise_is_found() -> None:
    values = noisy(GROWING, 10, np.random.default_rng(2))
    values[0] += 1  # a fifteenth of the noise at the other end, and sixteen of its own errors
    assert p_value(values, 999, np.random.default_rng(0)) == 0.001


@pytest.mark.parametrize("seeds", [1, 2, 7])
def test_few_seeds_have_no_p_value(seeds: int) -> None:
    values = noisy(np.ones(5), seeds, np.random.default_rng(0))
    assert math.isnan(p_value(values, 99, np.random.default_rng(0)))


def test_equal_accuracies_at_all_scales_are_no_memory() -> None:
    rng = np.random.default_rng(0)
    assert p_value(np.tile(rng.random(8), (5, 1)), 99, rng) == 1


def test_holes_are_no_runs() -> None:
    values = noisy(np.ones(6), 12, np.random.default_rng(0))
    values[1] += 3
    values[2, :3] = values[0, 8] = np.nan
    values[4] = np.nan
    assert p_value(values, 999, np.random.default_rng(0)) < 0.01


def test_the_variance_of_each_scale_is_its_own_whatever_seeds_share() -> None:
    rng = np.random.default_rng(0)
    deviations = np.array([0.6, 0.8, 1.0, 1.5, 0.7])
    found = np.mean([noise_variances(noisy(deviations, 10, rng)) for _ in range(600)], axis=0)
    np.testing.assert_allclose(found, deviations**2, rtol=0.1)
    two = np.mean(
        [noise_variances(noisy(np.array([1.0, 2.0]), 5, rng)) for _ in range(600)], axis=0
    )
    np.testing.assert_allclose(two, 2.5, rtol=0.1)


def test_noise_spread_is_the_spread_of_means_without_memory() -> None:
    rng = np.random.default_rng(0)
    made = [np.ptp(noisy(GROWING, 10, rng).mean(1)) for _ in range(500)]
    found = [
        noise_spread(noisy(GROWING, 10, rng) + 5 * GROWING[:, None], 500, rng) for _ in range(100)
    ]
    assert np.mean(found) == pytest.approx(np.mean(made), rel=0.05)
    assert math.isnan(noise_spread(noisy(GROWING, 1, rng), 99, rng))
