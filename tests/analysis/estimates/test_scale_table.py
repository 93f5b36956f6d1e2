from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import Truth, frames

from analysis.estimates.scale_table import (
    QUANTITIES,
    by_scale,
    interpolation,
    median_with_censoring,
)


@pytest.fixture(scope="module")
def store() -> tuple[pd.DataFrame, pd.DataFrame]:
    # With this rate the largest σw does not interpolate within 30 epochs.
    return frames([{}], Truth(interpolation_rate=0.3), np.random.default_rng(2))


def test_every_quantity_of_every_scale_has_a_row(store: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    table = by_scale(*store)
    assert len(table) == len(QUANTITIES) * 5
    assert not table.duplicated(["recipe", "sigma_w", "quantity"]).any()


def test_numbers_are_those_of_a_plain_group_by(store: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    runs, history = store
    whole = history.merge(runs, on="run_id")
    best = whole[whole["epoch"] == whole["best_epoch"]]
    expected = best.assign(
        generalization_gap=best["train_accuracy"] - best["test_accuracy"],
        train_accuracy_best=best["train_accuracy"],
        val_accuracy_best=best["val_accuracy"],
    ).groupby("sigma_w")
    table = by_scale(runs, history).set_index(["quantity", "sigma_w"])
    for name in ("generalization_gap", "train_accuracy_best", "val_accuracy_best", "best_epoch"):
        np.testing.assert_allclose(table.loc[name, "mean"], expected[name].mean())
        np.testing.assert_allclose(table.loc[name, "sd"], expected[name].std(), atol=1e-12)
        np.testing.assert_allclose(table.loc[name, "p90"], expected[name].quantile(0.9))


def test_seeds_without_interpolation_are_missing_from_the_repair_gap(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    table = by_scale(*store).set_index(["quantity", "sigma_w"])
    assert table.loc[("repair_gap", 2.5), "n"] == 0
    assert math.isnan(table.loc[("repair_gap", 2.5), "mean"])
    row = table.loc[("repair_gap", 0.5)]
    assert row["n"] == 5
    assert row["low"] < row["mean"] < row["high"]


def test_interpolation_is_censored_where_it_is_not_reached(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    table = interpolation(*store).set_index("sigma_w")
    assert (table.loc[2.5, "reached"], table.loc[2.5, "censored"]) == (0, 5)
    assert table.loc[2.5, "median_epoch"] == math.inf
    # 1 − ½ exp(−0.3 t / 0.5) ≥ 0.995 from t = 7.7 on.
    assert table.loc[0.5, "median_epoch"] == 8
    assert table.loc[0.5, "fitted_at_best"]
    assert not table.loc[2.5, "fitted_at_best"]


def test_median_counts_the_runs_that_never_reach_it() -> None:
    reached = np.array([5.0, 7.0, 9.0, np.nan, np.nan])
    assert median_with_censoring(reached, np.full(5, 30.0)) == 9
    rarely = np.array([5.0, np.nan, np.nan, np.nan])
    assert median_with_censoring(rarely, np.full(4, 30.0)) == math.inf


def test_early_censoring_is_not_taken_for_reaching() -> None:
    # By hand: S(10) = 3/4, then one of two at risk at 20: S(20) = 3/8.
    first = np.array([10.0, np.nan, 20.0, np.nan])
    assert median_with_censoring(first, np.array([30.0, 15.0, 30.0, 30.0])) == 20


def test_diverged_runs_are_counted_at_their_scale(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    worse = runs.assign(diverged=(runs["sigma_w"] == 2.5) & (runs["seed"] < 2))
    table = by_scale(worse, history).set_index(["quantity", "sigma_w"])
    assert table.loc[("test_accuracy", 2.5), ["n", "diverged"]].tolist() == [3, 2]
    counts = interpolation(worse, history).set_index("sigma_w")
    assert counts.loc[2.5, ["censored", "n", "diverged"]].tolist() == [3, 3, 2]
