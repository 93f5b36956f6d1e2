"""The forgetting time of every recipe, on the clock that is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import Truth, frames

from analysis.estimates.clock_axis import axes
from analysis.estimates.forgetting_by_recipe import forgetting_times
from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig


def on_sgd_clock(config: RunConfig) -> np.ndarray:
    return -0.1 * np.exp(-clocks(config, 1000).sgd / 8e-6)


@pytest.fixture(scope="module")
def store() -> tuple[pd.DataFrame, pd.DataFrame]:
    recipes = [{"batch_size": b} for b in (16, 32, 64)]
    return frames(recipes, Truth(beta=on_sgd_clock), np.random.default_rng(2))


def test_cells_that_forget_on_one_clock_have_one_time_on_it(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    # Counted from β = 0.1 at clock 0, as the first epochs end at different clock values.
    table = forgetting_times(*store, initial=0.1).set_index("recipe")
    assert (table["axis"] == "T_SGD").all()
    assert table.loc["b64", "status"] == "never"  # its horizon is 2.8e-6
    for recipe in ("b16", "b32"):
        assert 6e-6 < table.loc[recipe, "low"] < 8e-6 < table.loc[recipe, "high"] < 11e-6
    assert (table["seeds"] == 5).all()
    assert (table["runs"] == 25).all()


def test_the_horizon_is_the_clock_at_the_last_epoch(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    table = forgetting_times(runs, history, axis="T_adapt", constant_rate=True)
    first = runs[runs["batch_size"] == 16].iloc[0]
    config = RunConfig(
        **{n: getattr(first[n], "item", lambda n=n: first[n])() for n in RunConfig.names()}
    )
    expected = axes(config, 1000, constant_rate=True)["T_adapt"][-1]
    assert table["horizon"][0] == pytest.approx(expected)


def test_epochs_that_some_seeds_no_longer_reach_are_not_used(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    stopped = runs.index[(runs["batch_size"] == 16) & (runs["seed"] == 42)]
    history = history[~(history["run"].isin(stopped) & (history["epoch"] > 25))]
    table = forgetting_times(runs, history).set_index("recipe")
    assert table.loc["b16", "epochs"] == 25
    assert table.loc["b32", "epochs"] == 30
