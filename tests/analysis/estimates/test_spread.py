from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.estimates.memory import p_value
from analysis.estimates.spread import (
    cross_validated,
    extremes,
    interval,
    noise,
    permuted_spreads,
    seed_means,
)


def plain_cross_validation(values: np.ndarray) -> float:
    found = []
    seeds = range(values.shape[1])
    for picked in itertools.combinations(seeds, (len(seeds) + 1) // 2):
        other = [g for g in seeds if g not in picked]
        means = values[:, list(picked)].mean(1)
        left = values[:, other].mean(1)
        found.append(left[means.argmax()] - left[means.argmin()])
    return float(np.mean(found))


@pytest.mark.parametrize("shape", [(5, 2), (5, 5), (25, 10)])
def test_cross_validation_uses_every_halving(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).standard_normal(shape)
    found = cross_validated(values, np.random.default_rng(0))
    assert found == pytest.approx(plain_cross_validation(values))


def test_many_seeds_draw_halvings_reproducibly() -> None:
    values = np.random.default_rng(0).standard_normal((4, 20))
    found = [cross_validated(values, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert abs(found[0] - found[2]) < 0.1


@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.1, 10))
def test_seed_effects_and_units_do_not_matter(seed: int, shift: float, unit: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((4, 5))
    moved = unit * (values + shift * rng.standard_normal((1, 5)))
    one, two = extremes(values), extremes(moved)
    assert (one.top, one.bottom) == (two.top, two.bottom)
    assert two.spread == pytest.approx(unit * one.spread)
    honest = cross_validated(values, rng), cross_validated(moved, rng)
    assert honest[1] == pytest.approx(unit * honest[0], abs=1e-9)
    limits = interval(values, one, honest[0], 0.95), interval(moved, two, honest[1], 0.95)
    np.testing.assert_allclose(limits[1], unit * np.array(limits[0]), atol=1e-9)


def simulate(shape: np.ndarray, seeds: int, recipes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    noisy = shape[:, None] + rng.standard_normal((recipes, shape.size, seeds))
    honest = np.array([cross_validated(values, rng) for values in noisy])
    plain = np.array([extremes(values).spread for values in noisy])
    return honest, plain


@pytest.mark.parametrize(("scales", "seeds"), [(5, 3), (5, 10), (25, 5)])
def test_cross_validated_spread_is_unbiased_without_memory(scales: int, seeds: int) -> None:
    honest, plain = simulate(np.zeros(scales), seeds, 600)
    error = honest.std() / math.sqrt(honest.size)
    assert abs(honest.mean()) < 3 * error
    range_of_normals = {5: 2.326, 25: 3.931}[scales]  # its mean, tabulated as d2
    assert plain.mean() == pytest.approx(range_of_normals / math.sqrt(seeds), rel=0.05)


@pytest.mark.parametrize("memory_in_errors", [3, 8])
def test_cross_validated_spread_is_little_biased_and_never_upward(memory_in_errors: int) -> None:
    error = 1 / math.sqrt(10)  # of one mean
    shapes = (np.linspace(0, 1, 25) ** 8, np.arange(25) > 12, np.linspace(0, 1, 25))
    biases = []
    for shape in shapes:
        honest, plain = simulate(memory_in_errors * error * shape, 10, 300)
        bias = np.array([honest.mean(), plain.mean()]) / error - memory_in_errors
        assert -1.6 < bias[0] < 0.3
        assert bias[1] > 0.9
        biases.append(np.abs(bias))
    honest_bias, plain_bias = np.mean(biases, axis=0)
    assert honest_bias < 0.6 * plain_bias


def test_interval_is_the_paired_t_interval_when_the_extremes_are_clear() -> None:
    rng = np.random.default_rng(0)
    values = np.array([0.0, 50.0, 100.0])[:, None] + rng.standard_normal((3, 5))
    honest = cross_validated(values, rng)
    expected = stats.ttest_rel(values[2], values[0]).confidence_interval(0.95)
    np.testing.assert_allclose(interval(values, extremes(values), honest, 0.95), expected)


def test_missing_runs_are_not_zeros() -> None:
    rng = np.random.default_rng(0)
    values = 10 + rng.standard_normal((3, 6))
    values[2] += 5
    values[0, :2] = values[2, 5] = np.nan
    np.testing.assert_allclose(seed_means(values), np.nanmean(values, axis=1))
    assert 3 < cross_validated(values, rng) < 7
    low, high = interval(values, extremes(values), 5.0, 0.95)
    assert 2 < low < 5 < high < 8


def test_a_scale_without_runs_is_never_an_extreme() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4))
    values[1] = np.nan
    assert 1 not in (extremes(values).top, extremes(values).bottom)
    assert np.isfinite(cross_validated(values, np.random.default_rng(0)))


def test_p_value_equals_the_exhaustive_permutation_test() -> None:
    values = np.random.default_rng(3).standard_normal((3, 3))
    observed = extremes(values).spread
    orders = list(itertools.permutations(range(3)))
    spreads = [
        np.ptp(np.mean([values[list(o), g] for g, o in enumerate(chosen)], axis=0))
        for chosen in itertools.product(orders, repeat=3)
    ]
    exact = np.mean(np.array(spreads) >= observed - 1e-12)
    assert p_value(values, 20_000, np.random.default_rng(0)) == pytest.approx(exact, abs=0.012)


def test_p_values_without_memory_are_uniform() -> None:
    rng = np.random.default_rng(0)
    found = [p_value(rng.standard_normal((5, 4)), 199, rng) for _ in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_permutations_keep_every_seed_s_values() -> None:
    values = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, 7.0]])
    spreads = permuted_spreads(values, 200, np.random.default_rng(0))
    possible = {
        round(float(np.ptp([a[0], (a[1] + b[0]) / 2, (a[2] + b[1]) / 2])), 9)
        for a in itertools.permutations([1.0, 2.0, 3.0])
        for b in itertools.permutations([5.0, 7.0])
    }
    assert {round(float(s), 9) for s in spreads} == possible


def test_noise_has_neither_scale_nor_seed_means_but_the_whole_variance() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 30)) + rng.standard_normal((40, 1)) + rng.standard_normal(30)
    left = noise(values)
    np.testing.assert_allclose(left.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(left.mean(1), 0, atol=1e-12)
    assert left.std() == pytest.approx(1, abs=0.05)
