from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower
from synthetic_frames import Truth, frames

from analysis.estimates.memory import memory
from analysis.estimates.seeds import (
    chance_inside,
    chance_of_verdict,
    half_width,
    largest_deviation,
    seeds_by_recipe,
    seeds_for,
    told_apart,
)


@given(st.floats(0.01, 20), st.floats(0.05, 5))
def test_one_seed_fewer_than_needed_is_too_few(deviation: float, wanted: float) -> None:
    needed = seeds_for(deviation, wanted)
    assert half_width(deviation, needed) <= wanted
    assert needed == 2 or half_width(deviation, needed - 1) > wanted


def simulated(truth: float, deviation: float, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of 20,000 intervals of scipy's."""
    rng = np.random.default_rng(0)
    shares = truth + deviation * rng.standard_normal((20_000, seeds))
    found = stats.ttest_1samp(shares, 0, axis=1).confidence_interval(0.95)
    return found.low, found.high


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
@pytest.mark.parametrize("truth", [0.0, 0.7, 2.0])
def test_the_chance_of_a_verdict_is_that_of_simulated_sweeps(truth: float, seeds: int) -> None:
    low, high = simulated(truth, 1.0, seeds)
    for lower, upper in ((-1.0, 1.0), (0.5, math.inf), (-math.inf, 1.0)):
        inside = ((lower < low) & (high < upper)).mean()
        outside = ((high < lower) | (upper < low)).mean()
        assert chance_inside(lower, upper, truth, 1.0, seeds) == pytest.approx(inside, abs=0.012)
        found = chance_of_verdict(lower, upper, truth, 1.0, seeds)
        assert found == pytest.approx(inside + outside, abs=0.012)


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_the_difference_that_is_told_apart_is_that_of_statsmodels(seeds: int) -> None:
    found = told_apart(2.0, seeds, power=0.8)
    expected = TTestPower().solve_power(nobs=seeds, alpha=0.025, power=0.8, alternative="larger")
    assert found == pytest.approx(2 * expected, rel=0.01)


def test_without_scatter_any_number_of_seeds_tells() -> None:
    assert seeds_for(0.0, 0.1) == 2
    assert chance_of_verdict(-1, 1, 0.5, 0.0, 3) == chance_of_verdict(-1, 1, 5.0, 0.0, 3) == 1
    assert chance_inside(-1, 1, 5.0, 0.0, 3) == 0


def test_four_of_five_true_deviations_are_below_the_assured_one() -> None:
    rng = np.random.default_rng(0)
    estimates = rng.standard_normal((4000, 6)).std(1, ddof=1)
    held = [largest_deviation(one, 6) >= 1 for one in estimates]
    assert np.mean(held) == pytest.approx(0.8, abs=0.02)


def test_the_seeds_of_a_recipe_follow_from_its_paired_differences() -> None:
    truth = Truth(test_accuracy=lambda _, scales: 0.9 - 0.1 * scales, test_noise=0.02)
    runs = frames([{}], truth, np.random.default_rng(0))[0]
    (row,) = seeds_by_recipe(runs, [0.01, 0.05]).to_dict("records")
    wide = runs.pivot_table(index="seed", columns="sigma_w", values="test_accuracy")
    means = wide.mean()
    pairs = wide[means.idxmax()] - wide[means.idxmin()]
    assert row["deviation"] == pytest.approx(pairs.std())
    interval = stats.ttest_1samp(pairs, 0).confidence_interval(0.95)
    assert row["half_width"] == pytest.approx((interval.high - interval.low) / 2)
    assert row["memory"] == pytest.approx(memory(runs)["memory"].iloc[0])
    assert row["seeds_0"] == seeds_for(pairs.std(), 0.01) > row["seeds_1"]
    assert row["assured_0"] > row["seeds_0"]


def test_a_recipe_of_one_seed_has_nothing_to_plan_with() -> None:
    runs = frames([{}], Truth(), np.random.default_rng(0), seeds=(1,))[0]
    assert seeds_by_recipe(runs, [0.01]).empty
    both = [runs, frames([{"optimizer": "adam"}], Truth(), np.random.default_rng(0))[0]]
    assert list(seeds_by_recipe(pd.concat(both, ignore_index=True), [0.01])["recipe"]) == ["adam"]
