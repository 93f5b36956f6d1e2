from __future__ import annotations

import math

import exhibit_stores
import numpy as np
import pandas as pd
import pytest
from exhibit_stores import SEEDS
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic_frames import SCALES, Truth, frames

from analysis.estimates.scale_table import (
    QUANTITIES,
    by_scale,
    interpolation,
    interpolation_time,
    median_over_seeds,
    median_with_censoring,
)

INF = math.inf


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


def test_diverged_runs_count_as_what_they_return_and_are_named(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    lost = (runs["sigma_w"] == 2.5) & (runs["seed"] < 2)
    worse = runs.assign(diverged=lost, test_accuracy=runs["test_accuracy"].mask(lost))
    table = by_scale(worse, history).set_index(["quantity", "sigma_w"])
    found = table.loc[("test_accuracy", 2.5)]
    assert found[["n", "diverged", "untrained"]].tolist() == [5, 2, 2]
    known = worse.loc[(worse["sigma_w"] == 2.5) & ~lost, "test_accuracy"]
    assert found["mean"] == pytest.approx((known.sum() + 2 * 0.1) / 5)
    assert table.loc[("test_accuracy", 1.8), ["n", "diverged", "untrained"]].tolist() == [5, 0, 0]
    counts = interpolation(worse, history).set_index("sigma_w")
    assert counts.loc[2.5, ["censored", "n", "diverged"]].tolist() == [5, 5, 2]


# --- τ_interp over seeds, with runs that never get there ---


def over_seeds(epochs: np.ndarray) -> dict[str, float]:
    """Of runs that were followed for good."""
    return median_over_seeds(
        np.where(np.isfinite(epochs), epochs, np.nan), np.full(epochs.shape, INF)
    )


def test_there_is_one_median_in_every_table() -> None:
    epochs = np.array([10.0, 12, 14, 16, 18, 30, 32, 34, 36, 38])
    last = np.full(10, 40.0)
    assert median_with_censoring(epochs, last) == median_over_seeds(epochs, last)["mean"] == 24
    runs, history = frames([{}], Truth(interpolation_rate=0.3), np.random.default_rng(2))
    one = interpolation(runs, history).set_index("sigma_w")["median_epoch"]
    pd.testing.assert_series_equal(
        one, interpolation_time(runs).set_index("sigma_w")["mean"], check_names=False
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 4))
def test_the_median_is_numpys_where_it_is_below_all_censoring(
    epochs: list[int], never: int
) -> None:
    first = np.array([*map(float, epochs), *[np.nan] * never])
    expected = np.median(np.array([*map(float, epochs), *[INF] * never]))
    found = median_with_censoring(first, np.full(first.size, 41.0))
    assert found == expected or (np.isnan(expected) and found == INF)


def test_a_run_that_was_stopped_early_may_have_fitted_soon_or_never() -> None:
    first = np.array([10.0, 11, 12, 13, 14, 15, np.nan, np.nan])
    early = median_over_seeds(first, np.array([*[40.0] * 6, 3.0, 3.0]))
    late = median_over_seeds(first, np.full(8, 40.0))
    assert early["low"] < late["low"]
    assert early["high"] == late["high"]
    assert early["mean"] == 12.5  # of the six that were followed


def test_runs_that_never_fit_are_later_than_all_others() -> None:
    assert over_seeds(np.array([3.0, 5.0, INF]))["mean"] == 5
    assert over_seeds(np.array([3.0, INF, INF]))["mean"] == INF
    assert over_seeds(np.array([3.0, 4.0, INF, INF]))["mean"] == INF
    assert over_seeds(np.array([3.0, 5.0, INF]))["reached"] == 2


def test_the_median_of_runs_that_all_fit_is_numpys() -> None:
    epochs = np.array([4.0, 9.0, 5.0, 7.0])
    found = over_seeds(epochs)
    assert found["mean"] == np.median(epochs)
    assert (found["p10"], found["p90"]) == tuple(np.percentile(epochs, [10, 90]))


@pytest.mark.parametrize("n", [6, 7, 10, 20])
def test_the_interval_holds_the_median_with_at_least_95_percent(n: int) -> None:
    found = over_seeds(np.arange(1.0, n + 1))
    below, above = int(found["low"]), n + 1 - int(found["high"])
    # The median is missed where fewer than `below` seeds lie below it, or `above` above it.
    missed = stats.binom.cdf(below - 1, n, 0.5) + stats.binom.cdf(above - 1, n, 0.5)
    assert missed <= 0.05
    narrower = stats.binom.cdf(below, n, 0.5) + stats.binom.cdf(above, n, 0.5)
    assert narrower > 0.05


def test_an_interval_may_have_no_upper_end() -> None:
    found = over_seeds(np.array([1.0, 2, 3, 4, 5, 6, 7, INF, INF, INF]))
    assert (found["low"], found["high"]) == (2, INF)


@pytest.mark.parametrize("n", [1, 5])
def test_fewer_than_six_seeds_have_no_interval(n: int) -> None:
    found = over_seeds(np.arange(1.0, n + 1))
    assert math.isnan(found["low"])
    assert math.isnan(found["high"])


def test_no_runs_are_no_number() -> None:
    found = over_seeds(np.array([]))
    assert math.isnan(found["mean"])
    assert (found["reached"], found["n"]) == (0, 0)


def test_one_row_for_each_cell_and_scale_with_its_diverged_runs() -> None:
    runs = exhibit_stores.store("demo", [{"optimizer": "sgd"}, {"optimizer": "adam"}]).runs
    gone = (runs["optimizer"] == "sgd") & (runs["seed"] == SEEDS[0]) & (runs["sigma_w"] == 0.5)
    table = interpolation_time(runs.assign(diverged=gone))
    assert len(table) == 2 * len(SCALES)
    sgd = table[table["recipe"].str.startswith("sgd")].set_index("sigma_w")
    assert list(sgd["n"]) == [3, 3, 3, 3, 3]
    assert list(sgd["diverged"]) == [0, 1, 0, 0, 0]
    assert sgd.loc[0.1, "mean"] == math.ceil(0.5 * math.log(100))
