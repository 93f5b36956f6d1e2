from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from synthetic_frames import SCALES, SEEDS, Truth, frames

from analysis.estimates.dose_response import dose_response, half_loss, lack_of_fit

X = np.array(SCALES)


def noisy(means: np.ndarray, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Noise that grows tenfold over σw, and a level of each seed."""
    noise = np.geomspace(0.002, 0.02, means.size)[:, None] * rng.standard_normal(
        (means.size, seeds)
    )
    return means[:, None] + noise + 0.05 * rng.standard_normal((1, seeds))


def test_a_parabola_without_a_slope_is_no_line() -> None:
    means = 0.9 - 0.1 * (2 * (X - X[0]) / np.ptp(X) - 1) ** 2
    assert lack_of_fit(X, noisy(means, 10, np.random.default_rng(0))) < 0.001


def test_a_line_is_rejected_as_often_as_the_level_says_whatever_the_variances() -> None:
    rng = np.random.default_rng(0)
    found = [lack_of_fit(X, noisy(0.9 - 0.05 * X, 5, rng)) for _ in range(500)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_three_scales_have_the_paired_t_test_of_their_second_difference() -> None:
    values = noisy(np.array([0.9, 0.8, 0.75]), 8, np.random.default_rng(1))
    bent = values[0] - 2 * values[1] + values[2]
    expected = stats.ttest_1samp(bent, 0).pvalue
    assert lack_of_fit(np.array([1.0, 2.0, 3.0]), values) == pytest.approx(expected)


def test_two_scales_or_two_seeds_cannot_be_bent() -> None:
    assert math.isnan(lack_of_fit(X[:2], np.ones((2, 9))))
    assert math.isnan(lack_of_fit(X, np.ones((5, 2))))


def test_half_of_the_loss_is_found_where_it_was_made() -> None:
    # From 0.1 to 2.5 on a logarithmic axis; a step between 0.5 and 1.
    means = np.array([0.9, 0.9, 0.7, 0.7, 0.7])
    estimate, low, high = half_loss(X, noisy(means, 10, np.random.default_rng(0)), 0.95)
    assert estimate == pytest.approx(math.sqrt(0.5), rel=0.05)
    assert 0.5 < low <= estimate <= high < 1
    rising = half_loss(X, noisy(1.5 - means, 10, np.random.default_rng(0)), 0.95)
    assert rising[0] == pytest.approx(math.sqrt(0.5), rel=0.05)


def test_a_loss_that_may_be_nothing_has_no_half() -> None:
    rng = np.random.default_rng(0)
    found = [half_loss(X, noisy(np.full(5, 0.9), 10, rng), 0.95) for _ in range(300)]
    assert np.isnan(found).all(1).mean() >= 0.91  # three binomial errors below 95 %


def test_the_interval_of_the_half_way_scale_covers_it() -> None:
    rng, held = np.random.default_rng(0), []
    means = 0.9 - 0.1 * (X - X[0]) / np.ptp(X)
    true = math.exp(np.interp(0.05, 0.9 - means, np.log(X)))
    for _ in range(400):
        estimate, low, high = half_loss(X, noisy(means, 5, rng), 0.95)
        held.append(low <= true <= high)
        assert low <= estimate <= high
    assert 0.917 <= np.mean(held) <= 0.983  # three binomial errors


def test_every_recipe_has_its_slopes_and_its_loss() -> None:
    truth = Truth(
        test_accuracy=lambda config, s: 0.9 - (0.05 if config.optimizer == "sgd" else 0.0) * s
    )
    runs = frames([{"optimizer": "sgd"}, {"optimizer": "adam"}], truth, np.random.default_rng(0))[0]
    table = dose_response(runs).set_index("recipe")
    sgd = table.loc["sgd"]
    assert sgd["slope_low"] < -0.05 < sgd["slope_high"]
    assert sgd["lost_low"] < 0.05 * 2.4 < sgd["lost_high"]
    assert sgd["log_lack_of_fit"] < 0.05 < sgd["lack_of_fit"]
    assert math.isnan(table.loc["adam", "half"])
    assert (sgd["seeds"], sgd["scales"]) == (len(SEEDS), len(SCALES))


def test_a_seed_with_a_hole_is_left_out() -> None:
    runs = frames([{}], Truth(), np.random.default_rng(0))[0]
    hole = (runs["sigma_w"] == 1.0) & (runs["seed"] == SEEDS[0])
    (row,) = dose_response(runs[~hole].reset_index(drop=True)).to_dict("records")
    assert row["seeds"] == len(SEEDS) - 1
    alone = runs[runs["seed"] == SEEDS[0]].reset_index(drop=True)
    (row,) = dose_response(alone).to_dict("records")
    assert math.isnan(row["half"])
    assert math.isnan(row["lost_low"])
    assert np.isfinite(row["slope"])
