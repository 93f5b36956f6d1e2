from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import SCALES, Truth, frames

from analysis.estimates.memory import estimate, image_error, memory
from suite.declarations.config import RunConfig


def remembers(config: RunConfig, scales: np.ndarray) -> np.ndarray:
    lost = 0.1 if config.optimizer == "sgd" else 0.0
    return 0.85 - lost * (scales - 0.1) / 2.4


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    recipes = [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    return frames(recipes, Truth(test_accuracy=remembers), np.random.default_rng(4))[0]


def test_memory_is_the_range_of_the_seed_means(runs: pd.DataFrame) -> None:
    means = runs.groupby(["optimizer", "sigma_w"])["test_accuracy"].mean().unstack()
    table = memory(runs).set_index("recipe")
    for name in ("sgd", "adam"):
        row = table.loc[name]
        assert row["memory"] == pytest.approx(means.loc[name].max() - means.loc[name].min())
        assert row["sigma_w_top"] == means.loc[name].idxmax()
        assert row["sigma_w_bottom"] == means.loc[name].idxmin()
        assert row["mean_top"] == pytest.approx(means.loc[name].max())


def test_a_real_effect_is_found_and_a_missing_one_is_not(runs: pd.DataFrame) -> None:
    table = memory(runs).set_index("recipe")
    assert table.loc["sgd", "low"] < 0.1 < table.loc["sgd", "high"]
    assert table.loc["sgd", "corrected"] == pytest.approx(0.1, abs=0.01)
    assert table.loc["adam", "low"] == 0
    assert table.loc["adam", "corrected"] < table.loc["adam", "memory"]


def test_the_p_value_tells_an_effect_from_none_and_needs_eight_seeds() -> None:
    recipes = [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    truth = Truth(test_accuracy=remembers)
    runs = frames(recipes, truth, np.random.default_rng(4), seeds=range(8))[0]
    found = memory(runs).set_index("recipe")["p_value"]
    assert found["sgd"] < 0.001
    assert found["adam"] > 0.05
    assert memory(runs[runs["seed"] < 7].reset_index(drop=True))["p_value"].isna().all()


def test_noise_spread_is_the_spread_that_noise_alone_makes(runs: pd.DataFrame) -> None:
    # The range of five standard normal values is 2.326 on average.
    expected = 2.326 * 0.005 / math.sqrt(5)
    table = memory(runs)
    np.testing.assert_allclose(table["noise_spread"], expected, rtol=0.5)


def test_failed_runs_make_memory_larger_and_not_smaller() -> None:
    """Two of ten diverge at the largest σw, with best checkpoints at 20 %."""
    truth = Truth(test_accuracy=lambda _, scales: 0.85 - 0.265 * (scales - 0.1) / 2.4)
    seeds = (0, 1, 42, 123, 456, 789, 999, 2024, 2025, 2026)
    runs = frames([{}], truth, np.random.default_rng(4), seeds=seeds)[0]
    diverged = (runs["sigma_w"] == 2.5) & runs["seed"].isin([0, 1])
    failed = runs.assign(diverged=diverged, test_accuracy=runs["test_accuracy"].mask(diverged, 0.2))
    row = memory(failed).iloc[0]
    assert row["memory"] == pytest.approx(0.265 + 0.2 * (0.585 - 0.2), abs=0.01)
    assert row["low"] <= row["memory"] <= row["high"]
    assert row["survivors"] == pytest.approx(0.265, abs=0.01)
    assert (row["runs"], row["seeds"], row["scales"]) == (50, 10, 5)
    assert (row["diverged"], row["untrained"], row["scales_lost"]) == (2, 0, 0)


def test_a_run_without_a_checkpoint_is_as_good_as_a_guess(runs: pd.DataFrame) -> None:
    lost = (runs["optimizer"] == "sgd") & (runs["sigma_w"] == 2.5)
    without = runs.assign(diverged=lost, test_accuracy=runs["test_accuracy"].mask(lost))
    row = memory(without).set_index("recipe").loc["sgd"]
    assert (row["sigma_w_bottom"], row["mean_bottom"]) == (2.5, pytest.approx(0.1))
    assert (row["diverged"], row["untrained"], row["scales_lost"]) == (5, 5, 1)
    assert row["survivors"] < 0.2 < row["memory"]
    # Of a folder's images it is not known how many classes there are.
    folder = {"dataset": "folder", "dataset_digest": "0" * 16, "optimizer": "sgd"}
    row = memory(without[runs["optimizer"] == "sgd"].assign(**folder)).iloc[0]
    assert (row["runs"], row["scales"]) == (20, 4)


def test_an_unfinished_metric_of_a_run_that_did_not_diverge_is_a_hole(runs: pd.DataFrame) -> None:
    holes = runs.assign(test_accuracy=runs["test_accuracy"].mask(runs["sigma_w"] == 2.5))
    assert set(memory(holes)["scales"]) == {4}


def test_estimates_do_not_depend_on_the_order_of_runs(runs: pd.DataFrame) -> None:
    again = runs.sample(frac=1, random_state=0).reset_index(drop=True)
    pd.testing.assert_frame_equal(memory(runs, seed=3), memory(again, seed=3))


@pytest.mark.parametrize(("top", "bottom"), [(0.95, 0.75), (0.9, 0.9), (0.6, 0.1)])
def test_a_finite_test_set_moves_memory_by_no_more_than_is_said(top: float, bottom: float) -> None:
    rng, images = np.random.default_rng(0), 400
    errors = []
    for shared in (0.0, 0.5, 1.0):  # from disjoint mistakes, as far as they can be, to nested ones
        both_wrong = max(0.0, 1 - top - bottom)
        both_wrong += shared * (min(1 - top, 1 - bottom) - both_wrong)
        parts = [1 - bottom - both_wrong, 1 - top - both_wrong]
        counts = rng.multinomial(images, [*parts, 1 - sum(parts)], 4000)
        errors.append(((counts[:, 0] - counts[:, 1]) / images).std())
    assert image_error(top, bottom, images) >= 0.97 * max(errors)
    assert image_error(top, bottom, images) == pytest.approx(errors[0], rel=0.04)


def test_the_error_of_the_test_images_is_that_of_the_extreme_scales(runs: pd.DataFrame) -> None:
    for row in memory(runs).to_dict("records"):
        assert row["image_error"] == image_error(row["mean_top"], row["mean_bottom"], 400)


def test_one_seed_has_memory_but_neither_interval_nor_p_value(runs: pd.DataFrame) -> None:
    row = memory(runs[runs["seed"] == 42].reset_index(drop=True)).iloc[0]
    assert row["memory"] > 0
    for name in ("corrected", "low", "high", "p_value", "noise_spread"):
        assert math.isnan(row[name]), name


def test_one_scale_has_no_memory() -> None:
    found = estimate(np.ones((1, 5)), np.ones(1), np.random.default_rng(0))
    assert math.isnan(found["memory"])
    assert math.isnan(found["p_value"])


def test_a_recipe_whose_runs_all_diverged_has_no_survivors(runs: pd.DataFrame) -> None:
    table = memory(runs.assign(diverged=runs["optimizer"] == "adam")).set_index("recipe")
    assert math.isnan(table.loc["adam", "survivors"])
    assert table.loc["adam", "scales_lost"] == len(SCALES)


def test_calibration_has_a_memory_and_a_guess_is_calibrated(runs: pd.DataFrame) -> None:
    one = runs[runs["optimizer"] == "sgd"].reset_index(drop=True)
    one["test_ece"] = 0.02 * one["sigma_w"]
    one["test_nll"] = np.nan
    assert memory(one, metric="test_ece")["memory"][0] == pytest.approx(0.02 * 2.4)
    assert memory(one, metric="test_nll")["memory"].isna().all()
    failed = one["sigma_w"] == 2.5
    one.loc[failed, "diverged"] = True
    # A model that an earlier version tested, but not for this, is no guess.
    assert memory(one.assign(test_ece=one["test_ece"].mask(failed)), metric="test_ece")[
        "sigma_w_top"
    ][0] == pytest.approx(1.8)
    one.loc[failed, ["test_accuracy", "test_ece"]] = np.nan
    found = memory(one, metric="test_ece")
    assert (found["sigma_w_bottom"][0], found["mean_bottom"][0]) == (2.5, 0.0)
    assert memory(one.assign(test_nll=0.5 * one["sigma_w"].mask(failed)), metric="test_nll")[
        "mean_top"
    ][0] == pytest.approx(math.log(10))
