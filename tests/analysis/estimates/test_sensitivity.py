from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cluster_reference import bias_reduced_band
from scipy import stats
from synthetic_frames import Truth, frames

from analysis.estimates.cluster_slope import cluster_slopes
from analysis.estimates.histories import epoch_matrix
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.sensitivity import FLOOR_FACTOR, corrected, curves, sensitivity
from suite.declarations.config import RunConfig

RECIPES = [{"optimizer": "sgd"}, {"optimizer": "adam", "epochs": 20}]


def decay(config: RunConfig) -> np.ndarray:
    return -0.1 * np.exp(-np.arange(config.epochs) / 10)


def reference_band(
    runs: pd.DataFrame, history: pd.DataFrame, recipe: Recipe, epoch: int
) -> tuple[list[float], int]:
    """Slope, error and interval of one recipe at one epoch, and of how many runs."""
    accuracy = recipe.pivot(epoch_matrix(runs, history, "val_accuracy")[:, epoch - 1])
    scale, seed = np.nonzero(np.isfinite(accuracy))
    y = accuracy[scale, seed]
    return bias_reduced_band(recipe.scales[scale], y, seed), y.size


@pytest.fixture(scope="module")
def store() -> tuple[pd.DataFrame, pd.DataFrame]:
    runs, history = frames(RECIPES, Truth(beta=decay), np.random.default_rng(1))
    return runs, history[~((history["run"] == 7) & (history["epoch"] > 12))]


def test_frame_equals_the_bias_reduced_regression_at_every_epoch(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    frame = sensitivity(*store).set_index(["recipe", "epoch"])
    for recipe in find_recipes(store[0]):
        for epoch in (1, 12, 13, recipe.config.epochs):
            expected, runs = reference_band(*store, recipe, epoch)
            row = frame.loc[(recipe.label, epoch)]
            got = row[["beta", "standard_error", "low", "high"]].to_numpy(dtype=float)
            np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-13)
            assert row["runs"] == runs


def test_the_made_beta_is_found(store: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame = sensitivity(*store, level=0.999)
    for recipe in find_recipes(store[0]):
        rows = frame[frame["recipe"] == recipe.label]
        truth = decay(recipe.config)
        assert len(rows) == recipe.config.epochs
        assert ((rows["low"] < truth) & (truth < rows["high"])).mean() > 0.95
        np.testing.assert_allclose(rows["beta"], truth, atol=0.02)


def test_a_run_that_diverged_stays_at_what_it_was_and_is_counted(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    lost = runs.index == 7
    found = sensitivity(runs.assign(diverged=lost), history)
    stays = history[(history["run"] == 7) & (history["epoch"] == 12)]
    held = pd.concat([history, *(stays.assign(epoch=e) for e in range(13, 31))])
    expected = sensitivity(runs, held)
    assert found["diverged"].max() == 1
    pd.testing.assert_frame_equal(found.drop(columns="diverged"), expected.drop(columns="diverged"))
    of_last = sensitivity(*store).query("epoch == 13")
    assert of_last["runs"].sum() == 50 - 1  # a run that is not there yet is a hole
    assert found.query("epoch == 13")["runs"].sum() == 50
    assert (found["method"] == "seed-clustered").all()


def test_one_seed_is_classical_and_says_so() -> None:
    runs, history = frames([{}], Truth(beta=decay), np.random.default_rng(0), seeds=(42,))
    frame = sensitivity(runs, history)
    assert (frame["method"] == "classical, one seed").all()
    (recipe,) = find_recipes(runs)
    accuracy = recipe.pivot(epoch_matrix(runs, history, "val_accuracy")[:, 4])
    reference = stats.linregress(recipe.scales, accuracy[:, 0])
    np.testing.assert_allclose(frame["standard_error"][4], reference.stderr, rtol=1e-10)


def test_one_scale_has_no_slope_and_says_so() -> None:
    runs, history = frames([{}], Truth(), np.random.default_rng(0), scales=(1.0,))
    frame = sensitivity(runs, history)
    assert frame["beta"].isna().all()
    assert (frame["method"] == "none").all()


def test_bands_of_the_absolute_value_start_at_zero_where_beta_may_be_zero() -> None:
    runs, history = frames([{}], Truth(), np.random.default_rng(0))
    frame = sensitivity(runs, history)
    unsure = (frame["low"] < 0) & (frame["high"] > 0)
    assert unsure.any()
    assert (frame.loc[unsure, "absolute_low"] == 0).all()
    sure = frame[~unsure]
    expected = np.minimum(sure["low"].abs(), sure["high"].abs())
    np.testing.assert_allclose(sure["absolute_low"], expected)


def test_floor_is_the_mean_of_absolute_beta_without_sensitivity() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0.1, 2.5, 5)[:, None]
    found = cluster_slopes(x, rng.standard_normal((5, 10, 20_000)))
    mean_error = np.sqrt((found.standard_error**2).mean())
    assert np.abs(found.slope).mean() == pytest.approx(FLOOR_FACTOR * mean_error, rel=0.02)


def test_squared_is_unbiased_for_the_square_of_beta() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0.1, 2.5, 5)[:, None]
    for beta in (0.0, 0.3):
        found = cluster_slopes(x, beta * x[:, :, None] + rng.standard_normal((5, 10, 20_000)))
        squared = found.slope**2 - found.standard_error**2
        noise = squared.std() / np.sqrt(20_000)
        # (N−1)/(N−2) makes SE² too large by 2 % at N = 50.
        assert squared.mean() == pytest.approx(beta**2, abs=4 * noise + 0.021 * 0.03)


def test_corrected_keeps_the_sign_of_what_it_roots() -> None:
    values = corrected(np.array([-0.5, 0.3]), np.array([0.3, 0.5]))
    np.testing.assert_allclose(values, [0.4, -0.4])


def test_cells_may_be_chosen(store: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    runs, history = store
    adam = [recipe for recipe in find_recipes(runs) if recipe.config.optimizer == "adam"]
    (one,) = curves(runs, history, recipes=adam)
    assert one.epochs[-1] == 20
    assert one.slopes.by_seed.shape == (5, 20)
