"""Each layer's cosine to its start over seeds, and when it has fallen to one half."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from layer_frames import NAMES, fading, made_layers
from numpy.testing import assert_allclose
from scipy import stats
from synthetic_frames import SCALES, SEEDS, Truth, frames

from analysis.estimates.layer_memory import forgotten_at, layer_curves, layer_forgetting
from analysis.estimates.recipes import find_recipes
from analysis.estimates.seed_mean import seed_bands, seed_mean
from analysis.store.layers import no_layers
from suite.declarations.clocks import clocks

RECIPES = [{"optimizer": "sgd"}, {"optimizer": "adam", "kernel_l2": 1e-3}]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return frames(RECIPES, Truth(), np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def layers(runs: pd.DataFrame) -> pd.DataFrame:
    return made_layers(runs, fading)


def test_the_curves_are_means_over_seeds_with_their_t_interval(
    runs: pd.DataFrame, layers: pd.DataFrame
) -> None:
    found = layer_curves(runs, layers)
    epochs = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 30]
    assert len(found) == 2 * len(SCALES) * len(epochs) * len(NAMES)
    assert set(found["epoch"]) == set(epochs)  # what is measured at τ_best alone is none of them
    assert (found["seeds"] == len(SEEDS)).all()
    assert (found[found["epoch"] == 0][["cosine", "norm_ratio"]] == 1).all(axis=None)
    one = found[(found["epoch"] == 12) & (found["layer"] == "block1")].iloc[0]
    expected = np.exp(-12 * 4 / (40 * (1 + 0.02 * (np.array(SEEDS) % 7))))
    half = stats.t.ppf(0.975, 4) * stats.sem(expected)
    assert one["depth"] == 1
    assert_allclose(one["cosine"], expected.mean(), rtol=1e-6)
    ends = [expected.mean() - half, expected.mean() + half]
    assert_allclose([one["low"], one["high"]], ends, rtol=1e-5)
    assert_allclose(one["norm_ratio"], 1 + 12 / 30, rtol=1e-6)


def test_each_epoch_has_its_time_on_the_clock_of_the_recipe_s_mechanism(
    runs: pd.DataFrame, layers: pd.DataFrame
) -> None:
    curves = layer_curves(runs, layers)
    for recipe, axis in zip(find_recipes(runs), ("T_SGD", "T_adapt"), strict=True):
        ticks = clocks(recipe.config, recipe.train_images)
        expected = {"T_SGD": ticks.sgd, "T_adapt": ticks.adapt}[axis]
        of = curves[(curves["recipe"] == recipe.label) & (curves["layer"] == "stem")]
        assert set(of["axis"]) == {axis}
        for epoch, time in zip(of["epoch"], of["time"], strict=True):
            assert time == (expected[epoch - 1] if epoch else 0)


def test_the_distance_is_that_of_vectors_with_these_norms_and_this_angle(
    runs: pd.DataFrame, layers: pd.DataFrame
) -> None:
    one = layer_curves(runs, layers).query("epoch == 8 and layer == 'stem'").iloc[0]
    distances = []
    for seed in SEEDS:
        angle = math.acos(math.exp(-8 / (40 * (1 + 0.02 * (seed % 7)))))
        now = (1 + 8 / 30) * np.array([math.cos(angle), math.sin(angle)])
        distances.append(np.linalg.norm(now - [1, 0]))
    assert_allclose(one["distance"], np.mean(distances), rtol=1e-6)


def test_a_layer_is_forgotten_when_its_cosine_is_one_half_on_its_recipes_clock(
    runs: pd.DataFrame, layers: pd.DataFrame
) -> None:
    found = layer_forgetting(runs, layers)
    by_label = {recipe.label: recipe for recipe in find_recipes(runs)}
    crossed = found[found["status"] == "crossed"]
    assert set(crossed["layer"]) == {"stem", "block1", "block2"}
    mean = np.mean([1 + 0.02 * (seed % 7) for seed in SEEDS])
    expected = 40 * mean * math.log(2) / 4.0 ** crossed["depth"]
    # Between epochs a factor of 1.5 apart a line stands for the curve.
    assert_allclose(crossed["epoch"], expected, rtol=0.04)
    assert (crossed["low"] < crossed["time"]).all()
    assert (crossed["time"] < crossed["high"]).all()
    for row in crossed.itertuples():
        times = clocks(by_label[row.recipe].config, 1000)
        clock = {"T_SGD": times.sgd, "T_adapt": times.adapt}[row.axis]
        assert_allclose(row.time, np.interp(row.epoch, np.arange(1, 31), clock), rtol=0.05)
    assert set(crossed["axis"]) == {"T_SGD", "T_adapt"}
    head = found[found["layer"] == "head"]
    assert (head["status"] == "immediate").all()
    assert (head["low"] == 0).all()
    assert (found["order"] == len(NAMES) - found["depth"]).all()


def test_the_returned_model_is_looked_at_where_it_was_taken(
    runs: pd.DataFrame, layers: pd.DataFrame
) -> None:
    row = layer_forgetting(runs, layers).query("layer == 'stem'").iloc[0]
    recipe = find_recipes(runs)[0]
    mine = runs.iloc[recipe.rows[0]]
    cosines = [fading(run, int(run.best_epoch), 0) for run in mine.itertuples()]
    expected = seed_mean(np.array(cosines))
    ends = [row["at_best"], row["at_best_low"], row["at_best_high"]]
    assert_allclose(ends, [expected.mean, expected.low, expected.high], rtol=1e-5)


def test_runs_that_measured_nothing_are_left_out_and_without_any_there_is_no_row(
    runs: pd.DataFrame, layers: pd.DataFrame
) -> None:
    assert layer_curves(runs, no_layers()).empty
    assert layer_forgetting(runs, no_layers()).empty
    first = layers[layers["run_id"] != runs["run_id"][0]]
    counts = layer_curves(runs, first)["seeds"].value_counts()
    assert counts[len(SEEDS) - 1] == 11 * len(NAMES)
    # A part of the runs finds its own rows.
    part = runs.iloc[::-1].query("optimizer == 'adam'").reset_index(drop=True)
    whole = layer_curves(runs, layers).query("recipe.str.startswith('adam')")
    columns = ["sigma_w", "epoch", "depth", "cosine", "low"]
    np.testing.assert_array_equal(layer_curves(part, layers)[columns], whole[columns])


EPOCHS = np.array([1.0, 2, 4, 8, 16])


def test_a_cosine_that_stays_above_one_half_is_never_forgotten_and_censored_to_the_right() -> None:
    cosines = np.array([[1, 0.9, 0.8, 0.7, 0.65], [1, 0.9, 0.8, 0.72, 0.66]])
    found = forgotten_at(EPOCHS, cosines)
    assert (found["status"], found["high"]) == ("never", math.inf)
    assert math.isnan(found["time"])


def test_the_time_lies_on_the_line_between_measured_epochs_along_their_logarithm() -> None:
    found = forgotten_at(EPOCHS, np.array([[1, 0.9, 0.6, 0.4, 0.1]]))
    assert found["status"] == "crossed"
    assert_allclose(found["time"], 4 * math.sqrt(2))
    assert math.isnan(found["low"])
    assert math.isnan(found["high"])


def test_what_was_measured_from_midway_on_cannot_say_that_it_was_forgotten_at_once() -> None:
    nan = math.nan
    found = forgotten_at(EPOCHS, np.array([[nan, nan, 0.4, 0.3, 0.1], [nan, nan, 0.42, 0.3, 0.1]]))
    assert (found["status"], found["low"]) == ("undetermined", 0.0)
    assert forgotten_at(EPOCHS, np.array([[0.4, 0.3, 0.2, 0.1, 0.1]]))["status"] == "immediate"


def test_a_seed_that_diverged_early_is_left_out_and_one_that_stopped_shortens_the_curve() -> None:
    nan = math.nan
    whole = [1, 0.9, 0.6, 0.4, 0.1]
    early = [[1, nan, nan, nan, nan], [1, 0.9, 0.6, 0.4, nan]]
    found = forgotten_at(EPOCHS, np.array([whole, *early]))
    assert found["seeds"] == 2
    assert_allclose(found["time"], 4 * math.sqrt(2))
    assert forgotten_at(EPOCHS, np.array([whole, [1, 0.9, 0.8, nan, nan]]))["status"] == "never"


def test_bands_of_many_things_are_those_of_each() -> None:
    values = np.random.default_rng(0).normal(size=(6, 4, 3))
    values[0, 1] = values[2:, 2, 1] = values[:, 3] = np.nan
    values[1:, 0, 0] = np.inf
    found = seed_bands(values)
    for place in np.ndindex(4, 3):
        one = seed_mean(values[:, *place])
        ours = [getattr(found, name)[place] for name in ("mean", "low", "high", "n")]
        np.testing.assert_allclose(ours, [one.mean, one.low, one.high, one.n], rtol=1e-12)
