"""τ_interp over seeds, with runs that never get there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exhibit_stores import SEEDS, store
from scipy import stats
from synthetic_frames import SCALES

from analysis.estimates.interpolation_time import interpolation_time, over_seeds

INF = math.inf


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


def test_one_row_for_each_cell_and_scale_without_diverged_runs() -> None:
    runs = store("demo", [{"optimizer": "sgd"}, {"optimizer": "adam"}]).runs
    gone = (runs["optimizer"] == "sgd") & (runs["seed"] == SEEDS[0]) & (runs["sigma_w"] == 0.5)
    table = interpolation_time(runs.assign(diverged=gone))
    assert len(table) == 2 * len(SCALES)
    sgd = table[table["recipe"].str.startswith("sgd")].set_index("sigma_w")
    assert list(sgd["n"]) == [3, 2, 3, 3, 3]
    assert list(sgd["diverged"]) == [0, 1, 0, 0, 0]
    assert sgd.loc[0.1, "mean"] == math.ceil(0.5 * math.log(100))
