from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.claims.numbers import Region, Tolerance
from analysis.claims.rule import Part, judge_parts
from analysis.claims.statistics import (
    Exact,
    Ratio,
    Statistic,
    beta_kept,
    beta_late,
    norm_slope,
    spread,
)
from analysis.estimates import spread as spread_module

LEVEL = 0.95


def statistic(center: float, half: float) -> Statistic:
    """A mean of three seeds whose 95 % interval has this half width."""
    error = half / float(stats.t.ppf(0.975, 2))
    return Statistic.mean_of(center + error * math.sqrt(3) * np.array([-1.0, 0.0, 1.0]))


@given(st.integers(0, 10_000), st.integers(3, 10), st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_the_spread_has_the_interval_of_memory(seed: int, seeds: int, memory: float) -> None:
    rng = np.random.default_rng(seed)
    accuracy = 0.8 - memory * np.linspace(0, 1, 5)[:, None] + 0.01 * rng.normal(size=(5, seeds))
    found = spread(accuracy, np.random.default_rng(0))
    plain = spread_module.extremes(accuracy)
    honest = spread_module.cross_validated(accuracy, np.random.default_rng(0))
    expected = spread_module.interval(accuracy, plain, honest, LEVEL)
    assert found.interval(LEVEL) == pytest.approx(expected)
    assert (found.value, found.corrected) == (plain.spread, honest)


@pytest.mark.parametrize("floor", [-math.inf, 0.0])
def test_a_missing_share_leaves_no_interval_and_no_verdict(floor: float) -> None:
    found = Statistic(math.nan, math.nan, math.nan, *2 * [np.array([1.0, math.nan, 2.0])], floor)
    assert np.isnan(found.interval(LEVEL)).all()
    ratio = Ratio(np.array([1.0, math.nan, 2.0]), np.array([1.0, 2.0, 2.0]))
    assert np.isnan(ratio.interval(LEVEL)).all()
    for measured in (found, ratio):
        part = Part("", measured, Region(5, 6, "5.5 ± 0.5"))
        assert judge_parts([part]).verdict == "undetermined"


def test_a_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(size=8)
    a, b = (1 + shared + 0.2 * rng.normal(size=8) for _ in range(2))
    low, high = Statistic.mean_of(a).minus(Statistic.mean_of(b)).interval(LEVEL)
    expected = stats.ttest_rel(a, b).confidence_interval(LEVEL)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_a_multiple_scales_value_interval_and_floor() -> None:
    shares = np.array([0.2, 0.3, 0.4])
    found = Statistic(0.3, 0.2, 0.25, shares, 2 * shares, floor=0.0)
    low, high = found.interval(LEVEL)
    scaled = found.times(100)
    assert scaled.interval(LEVEL) == pytest.approx((100 * low, 100 * high))
    assert (scaled.value, scaled.corrected) == pytest.approx((30, 20))


def test_the_ratios_limits_are_where_the_t_test_turns() -> None:
    rng = np.random.default_rng(0)
    below = 2 + 0.3 * rng.normal(size=6)
    above = 0.5 * below + 0.2 * rng.normal(size=6)
    ratio = Ratio(above, below)
    for limit in ratio.interval(LEVEL):
        assert stats.ttest_1samp(above - limit * below, 0).pvalue == pytest.approx(1 - LEVEL)
    assert ratio.interval(LEVEL)[0] < ratio.value < ratio.interval(LEVEL)[1]


def test_a_ratio_to_what_may_be_zero_is_unbounded() -> None:
    ratio = Ratio(np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.1, 1.0]))
    assert ratio.interval(LEVEL) == (-math.inf, math.inf)


def test_the_norm_slope_is_the_clustered_regressions() -> None:
    rng = np.random.default_rng(1)
    initial = 10 * np.linspace(0.1, 2.5, 5)[:, None] * np.exp(0.01 * rng.normal(size=(5, 6)))
    best = initial**0.6 * np.exp(0.05 * rng.normal(size=(5, 6)))
    fit = sm.OLS(np.log(best).ravel(), sm.add_constant(np.log(initial).ravel())).fit()
    found = norm_slope(initial, best)
    assert found.value == pytest.approx(fit.params[1])
    assert found.n == 6


def test_late_sensitivity_is_the_slope_of_the_last_tenth() -> None:
    scales, epochs = np.array([0.1, 1.0, 2.5]), np.arange(1, 51)
    beta = -0.1 * np.exp(-epochs / 10)
    rng = np.random.default_rng(2)
    offset = 0.01 * rng.normal(size=(1, 4, 1))
    accuracy = 0.7 + offset + beta * scales[:, None, None]
    late = np.abs(beta[-5:]).mean()
    assert beta_late(scales, accuracy).value == pytest.approx(late)
    kept = beta_kept(scales, accuracy + 1e-6 * rng.normal(size=accuracy.shape))
    assert kept.value == pytest.approx(late / 0.1 * math.exp(0.1), rel=1e-3)


@pytest.mark.parametrize(
    ("center", "half", "verdict"),
    [
        (10.0, 1.0, "reproduced"),
        (10.9, 1.0, "reproduced"),
        (11.1, 1.0, "undetermined"),
        (10.0, 2.1, "undetermined"),
        (12.9, 1.0, "undetermined"),
        (13.1, 1.0, "contradicted"),
        (6.9, 1.0, "contradicted"),
        (30.0, 40.0, "undetermined"),
    ],
)
def test_the_interval_inside_outside_or_over_the_border_decides(
    center: float, half: float, verdict: str
) -> None:
    part = Part("", statistic(center, half), Region(8, 12, "10 ± 2"))
    assert judge_parts([part]).verdict == verdict


def test_all_parts_have_to_agree_and_one_can_contradict() -> None:
    region = Region(0, math.inf, "> 0")
    good, open_, bad = (Part(str(c), statistic(c, 1.0), region) for c in (3, 0.5, -9))
    assert judge_parts([good, good]).verdict == "reproduced"
    found = judge_parts([good, open_])
    assert (found.verdict, found.part) == ("undetermined", open_)
    found = judge_parts([good, open_, bad])
    assert (found.verdict, found.part) == ("contradicted", bad)


def test_contradiction_by_one_of_many_parts_is_corrected_for_their_number() -> None:
    region = Region(0, math.inf, "> 0")
    below = Part("below", statistic(-1.2, 1.0), region)
    assert judge_parts([below]).verdict == "contradicted"
    others = [Part(f"{i}", statistic(9, 1.0), region) for i in range(9)]
    assert judge_parts([*others, below]).verdict == "undetermined"


def test_arithmetic_is_inside_or_outside() -> None:
    region = Region(0.5, 1.5, "1 ± 0.5")
    assert judge_parts([Part("", Exact(1.4), region)]).verdict == "reproduced"
    assert judge_parts([Part("", Exact(1.6), region)]).verdict == "contradicted"


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("memory", [0.0, 0.003, 0.03, 0.3])
def test_a_spread_at_the_border_is_seldom_given_a_wrong_verdict(seeds: int, memory: float) -> None:
    """Truth just outside: rarely reproduced; just inside: rarely contradicted."""
    rng = np.random.default_rng([seeds, int(1000 * memory)])
    shape = -memory * np.linspace(0, 1, 5)[:, None]
    outside, inside = (Region(memory + shift, memory + 2.5, "") for shift in (1e-6, -1e-6))
    below = Region(-math.inf, memory - 1e-6, "")
    wrong = {"outside": 0, "below": 0, "contradicted": 0}
    draws = 300
    for _ in range(draws):
        accuracy = shape + 0.02 * rng.normal(size=(1, seeds)) + 0.01 * rng.normal(size=(5, seeds))
        found = spread(accuracy, rng)
        wrong["outside"] += judge_parts([Part("", found, outside)]).verdict == "reproduced"
        wrong["below"] += judge_parts([Part("", found, below)]).verdict == "reproduced"
        wrong["contradicted"] += judge_parts([Part("", found, inside)]).verdict == "contradicted"
    assert max(wrong.values()) / draws <= 0.05


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_an_order_of_equal_recipes_is_seldom_given_a_verdict(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    region = Region(0, math.inf, "> 0")
    draws, verdicts = 600, []
    for _ in range(draws):
        a, b, c = (Statistic.mean_of(rng.normal(size=seeds)) for _ in range(3))
        parts = [Part("a − b", a.minus(b), region), Part("b − c", b.minus(c), region)]
        verdicts.append(judge_parts(parts).verdict)
    assert verdicts.count("reproduced") / draws <= 0.025
    assert verdicts.count("contradicted") / draws <= 0.05


@pytest.mark.parametrize(
    ("tolerance", "value", "width"),
    [
        (Tolerance(reason="", absolute=1, relative=0.15), 26.5, 3.975),
        (Tolerance(reason="", absolute=1, relative=0.15), 1.6, 1),
        (Tolerance(reason="", digits=2), 7.3e-4, 0.05e-4),
        (Tolerance(reason="", digits=2), 0.94, 0.005),
        (Tolerance(reason="", digits=2), 4.7, 0.05),
        (Tolerance(reason=""), 4.7, 0),
    ],
)
def test_a_tolerance_is_the_largest_that_is_declared(
    tolerance: Tolerance, value: float, width: float
) -> None:
    assert tolerance.width(value) == pytest.approx(width)
