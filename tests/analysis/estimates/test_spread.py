from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.estimates.spread import cross_validated, extremes, interval, seed_means


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


def test_means_of_missing_runs_are_those_of_least_squares_with_seeds() -> None:
    rng = np.random.default_rng(0)
    values = 10 + rng.standard_normal((3, 6)) + 5 * rng.standard_normal((1, 6))
    values[2] += 5
    values[0, :2] = values[2, 5] = np.nan
    long = pd.DataFrame(values).rename_axis("scale").reset_index()
    long = long.melt("scale", var_name="seed", value_name="y").dropna()
    fit = statsmodels.formula.api.ols("y ~ C(scale) + C(seed)", long).fit()
    means = seed_means(values)
    for scale in (1, 2):
        assert means[scale] - means[0] == pytest.approx(fit.params[f"C(scale)[T.{scale}]"])
    assert 3 < cross_validated(values, rng) < 7
    low, high = interval(values, extremes(values), 5.0, 0.95)
    assert 2 < low < 5 < high < 8


def test_an_additive_world_with_holes_is_known_without_error() -> None:
    """A σw that lacks the bad seeds looks better by its plain mean, and is not."""
    values = np.array([0.9, 0.8, 0.7])[:, None] + np.array([0.3, 0.2, 0.0, -0.1, -0.4])
    values[2, 3:] = values[0, 0] = np.nan
    plain = extremes(values)
    assert (plain.top, plain.bottom) == (0, 2)
    assert plain.spread == pytest.approx(0.2)
    assert interval(values, plain, 0.2, 0.95) == pytest.approx((0.2, 0.2), abs=1e-9)


def coverage(deviations: np.ndarray, means: np.ndarray, seeds: int, missing: float) -> float:
    """How often the interval holds the true spread; seeds move all σw by three deviations."""
    rng, recipes = np.random.default_rng(5), 300
    held = []
    for _ in range(recipes):
        values = means[:, None] + deviations[:, None] * rng.standard_normal((means.size, seeds))
        values += 3 * deviations.max() * rng.standard_normal((1, seeds))
        values[rng.random(values.shape) < missing] = np.nan
        plain = extremes(values)
        low, high = interval(values, plain, cross_validated(values, rng), 0.95)
        held.append(low <= np.ptp(means) <= high)
    return float(np.mean(held))


# Three binomial errors of 300 recipes below 95 % are 91 %.
@pytest.mark.parametrize("scales", [5, 25])
def test_the_interval_holds_where_noise_has_its_maximum_in_the_middle(scales: int) -> None:
    place = np.linspace(0, 1, scales)
    deviations = 0.3 + 2 * np.exp(-(((place - 0.5) / 0.15) ** 2))
    assert coverage(deviations, -3 * deviations.max() / math.sqrt(10) * place, 10, 0.0) >= 0.91


def test_the_interval_holds_with_a_third_of_the_runs_missing_and_unlike_seeds() -> None:
    deviations = np.geomspace(0.2, 2, 10)
    assert coverage(deviations, np.linspace(3, 0, 10), 8, 0.3) >= 0.91


def test_a_scale_without_runs_is_never_an_extreme() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4))
    values[1] = np.nan
    assert 1 not in (extremes(values).top, extremes(values).bottom)
    assert np.isfinite(cross_validated(values, np.random.default_rng(0)))
