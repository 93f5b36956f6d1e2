from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import SCALES, Truth, frames

from analysis.estimates.memory import estimate, memory
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
    assert table.loc["sgd", "p_value"] < 0.001
    assert table.loc["adam", "low"] == 0
    assert table.loc["adam", "p_value"] > 0.05
    assert table.loc["adam", "corrected"] < table.loc["adam", "memory"]


def test_noise_spread_is_the_spread_that_noise_alone_makes(runs: pd.DataFrame) -> None:
    # The range of five standard normal values is 2.326 on average.
    expected = 2.326 * 0.005 / math.sqrt(5)
    table = memory(runs)
    np.testing.assert_allclose(table["noise_spread"], expected, rtol=0.5)


def test_counts_say_what_went_in_and_what_was_left_out(runs: pd.DataFrame) -> None:
    sgd = (runs["optimizer"] == "sgd") & (runs["sigma_w"] == 2.5)
    worse = runs.assign(diverged=sgd)
    row = memory(worse).set_index("recipe").loc["sgd"]
    assert (row["runs"], row["seeds"], row["scales"]) == (20, 5, 4)
    assert (row["diverged"], row["scales_lost"]) == (5, 1)
    assert row["sigma_w_bottom"] != 2.5


def test_estimates_do_not_depend_on_the_order_of_runs(runs: pd.DataFrame) -> None:
    again = runs.sample(frac=1, random_state=0).reset_index(drop=True)
    pd.testing.assert_frame_equal(memory(runs, seed=3), memory(again, seed=3))


def test_one_seed_has_memory_but_neither_interval_nor_p_value(runs: pd.DataFrame) -> None:
    row = memory(runs[runs["seed"] == 42].reset_index(drop=True)).iloc[0]
    assert row["memory"] > 0
    for name in ("corrected", "low", "high", "p_value", "noise_spread"):
        assert math.isnan(row[name]), name


def test_one_scale_has_no_memory() -> None:
    found = estimate(np.ones((1, 5)), np.ones(1), np.random.default_rng(0))
    assert math.isnan(found["memory"])
    assert math.isnan(found["p_value"])


def test_a_cell_whose_runs_all_diverged_is_shown_without_numbers(runs: pd.DataFrame) -> None:
    table = memory(runs.assign(diverged=runs["optimizer"] == "adam")).set_index("recipe")
    assert math.isnan(table.loc["adam", "memory"])
    assert table.loc["adam", "scales_lost"] == len(SCALES)
