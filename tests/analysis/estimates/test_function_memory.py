"""Function memory against closed forms, scipy's distances, and sums over pairs written out."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from synthetic_frames import Truth, frames

from analysis.estimates.agreement import agreement
from analysis.estimates.crossed import crossed_error
from analysis.estimates.function_memory import agreement_map, function_memory, of_predictors
from analysis.estimates.image_error import memory_over_images
from analysis.estimates.image_error import of_predictors as accuracy_of
from analysis.estimates.predictors import GUESS, Predictors, predictors_of
from analysis.estimates.recipes import find_recipes
from suite.basics.settings import ConfigError
from suite.declarations.predictions import Predictions

SIGMAS = np.array([0.1, 0.5, 2.5])


def made(predicted: NDArray[Any], classes: int = 4, labels: Any = None) -> Predictors:
    scales, seeds, images = predicted.shape
    own = np.zeros(images) if labels is None else labels
    return Predictors(
        SIGMAS[:scales],
        np.arange(seeds),
        predicted.astype(np.int32),
        np.asarray(own, dtype=np.int32),
        classes,
    )


def some(scales: int = 3, seeds: int = 4, images: int = 60, seed: int = 0) -> Predictors:
    rng = np.random.default_rng(seed)
    return made(rng.integers(4, size=(scales, seeds, images)), labels=rng.integers(4, size=images))


def test_two_functions_that_differ_on_a_third_of_the_images_have_that_memory() -> None:
    first = np.zeros(30)
    second = np.where(np.arange(30) < 10, 1, 0)
    found = of_predictors(made(np.stack([np.tile(first, (5, 1)), np.tile(second, (5, 1))])))
    assert found["function_memory"] == pytest.approx(1 / 3)
    assert (found["within"], found["between"]) == pytest.approx((0, 1 / 3))
    assert found["same_seed"] == pytest.approx(1 / 3)
    assert (found["largest_first"], found["largest_second"]) == (0.1, 0.5)
    assert found["low"] < 1 / 3 < found["high"]


def test_seeds_that_differ_alike_at_all_values_are_no_memory() -> None:
    of_seed = np.random.default_rng(1).integers(4, size=(5, 80))
    found = of_predictors(made(np.stack([of_seed] * 3)))
    assert found["within"] == pytest.approx(found["between"])
    assert found["within"] > 0.5
    assert found["same_seed"] == pytest.approx(0)
    # Different seeds disagree as often within a value as between two.
    assert found["function_memory"] == pytest.approx(0, abs=1e-12)


def test_disagreement_is_the_hamming_distance_of_all_pairs_of_other_seeds() -> None:
    one = some()
    distance = {
        (a, b): cdist(one.predicted[a], one.predicted[b], "hamming")
        for a, b in itertools.product(range(3), repeat=2)
    }
    off = ~np.eye(4, dtype=bool)
    expected = np.array([[distance[a, b][off].mean() for b in range(3)] for a in range(3)])
    found = agreement(one)
    np.testing.assert_allclose(1 - found.other_seeds, expected, atol=1e-7)
    same = [[np.diag(distance[a, b]).mean() for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(1 - found.same_seed, same, atol=1e-7)
    pairs = [(0, 1), (0, 2), (1, 2)]
    memory = np.mean([expected[a, b] - (expected[a, a] + expected[b, b]) / 2 for a, b in pairs])
    assert of_predictors(one)["function_memory"] == pytest.approx(memory, abs=1e-7)


def test_what_each_seed_says_of_each_image_is_a_sum_over_pairs_of_runs() -> None:
    one = some(scales=2, seeds=3, images=5, seed=5)
    same = one.predicted[:, :, None, None] == one.predicted  # (S, G, S, G, N)
    expected = np.zeros((3, 5))
    for g, h in itertools.permutations(range(3), 2):
        within = (same[0, g, 0, h] * 1.0 + same[1, g, 1, h]) / 2
        between = (same[0, g, 1, h] * 1.0 + same[1, g, 0, h]) / 2
        expected[g] += within - between
    parts = agreement(one).parts
    np.testing.assert_allclose(parts, expected, atol=1e-7)
    memory = of_predictors(one)["function_memory"]
    assert parts.sum(0).mean() / (3 * 2) == pytest.approx(memory, abs=1e-7)


def test_a_block_of_images_is_as_good_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = agreement(some())
    monkeypatch.setattr("analysis.estimates.agreement.NUMBERS_AT_ONCE", 7 * 3 * 4 * 4)
    parts = agreement(some())
    np.testing.assert_allclose(parts.pairs, whole.pairs, atol=1e-7)
    np.testing.assert_allclose(parts.parts, whole.parts, atol=1e-12)


def test_over_seeds_alone_the_error_is_the_jackknifes() -> None:
    # Each image ten thousand times: nothing is left to be drawn among images.
    one = some(scales=2, seeds=5, images=3, seed=2)
    many = made(np.repeat(one.predicted, 10_000, axis=2))
    without = [
        of_predictors(made(np.delete(one.predicted, g, axis=1)))["function_memory"]
        for g in range(5)
    ]
    jackknife = 4 / 5 * ((without - np.mean(without)) ** 2).sum()
    found = of_predictors(many)
    half = 2.7764451052 * math.sqrt(jackknife)  # t(4) at 97.5 %
    assert found["high"] == pytest.approx(found["function_memory"] + half, rel=1e-3)


def test_the_error_of_crossed_factors_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    errors, means = [], []
    for _ in range(3000):
        seeds, images = rng.standard_normal((6, 1)), 3 * rng.standard_normal(30)
        values = seeds + images + 5 * rng.standard_normal((6, 30))
        errors.append(crossed_error(values) ** 2)
        means.append(values.mean())
    expected = 1 / 6 + 9 / 30 + 25 / 180
    assert np.mean(errors) == pytest.approx(expected, rel=0.05)
    assert np.var(means) == pytest.approx(expected, rel=0.1)


def test_a_guess_agrees_with_anything_on_one_image_in_as_many_as_there_are_classes() -> None:
    predicted = np.zeros((2, 3, 40))
    predicted[1] = GUESS
    one = made(predicted)
    np.testing.assert_allclose(agreement(one).other_seeds, [[1, 0.25], [0.25, 0.25]], atol=1e-7)
    found = of_predictors(one)
    assert found["guesses"] == 3
    assert found["function_memory"] == pytest.approx(0.5 * (1 + 0.25) - 0.25)
    np.testing.assert_array_equal(one.right[1], 0.25)


@pytest.mark.parametrize("shape", [(1, 4, 9), (3, 1, 9)])
def test_one_value_or_one_seed_has_no_function_memory(shape: tuple[int, int, int]) -> None:
    assert math.isnan(of_predictors(made(np.zeros(shape)))["function_memory"])


def test_two_seeds_have_a_memory_without_an_interval() -> None:
    found = of_predictors(some(seeds=2))
    assert math.isfinite(found["function_memory"])
    assert math.isnan(found["low"])


def test_without_memory_its_mean_is_zero() -> None:
    found = [of_predictors(some(seed=k))["function_memory"] for k in range(200)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(200)


def test_the_error_of_images_is_that_of_a_bootstrap_of_pairs() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((2, 6, 400)) < np.array([0.9, 0.7])[:, None, None]
    one = made(np.where(right, 0, 1))
    found = accuracy_of(one, rng)
    per_image = (right[0] * 1.0 - right[1]).mean(0)
    draws = per_image[rng.integers(400, size=(4000, 400))].mean(1)
    assert found["image_error"] == pytest.approx(draws.std(), rel=0.05)
    assert found["accuracy_memory"] == pytest.approx(right[0].mean() - right[1].mean())
    assert found["accuracy_low"] < 0.2 < found["accuracy_high"]


# --- from frames ---
def kept_of(runs: pd.DataFrame, images: int = 20) -> dict[str, Predictions]:
    labels = np.zeros(images, dtype=np.uint8)
    found = {}
    for run_id, sigma_w in zip(runs["run_id"], runs["sigma_w"], strict=True):
        predicted = np.where(np.arange(images) < 10 * (sigma_w > 1), 1, 0).astype(np.uint8)
        found[run_id] = Predictions(labels, predicted, np.ones(images, dtype=np.float16), 10)
    return found


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return frames([{"optimizer": "sgd"}, {"optimizer": "adam"}], Truth(), np.random.default_rng(4))[
        0
    ]


def test_a_frame_has_a_row_for_each_recipe_and_no_number_without_predictions(
    runs: pd.DataFrame,
) -> None:
    sgd = runs[runs["optimizer"] == "sgd"]
    table = function_memory(runs, kept_of(sgd)).set_index("recipe")
    # σw of 0.1, 0.5, 1 predict alike, and 1.8 and 2.5 do: 6 of 10 pairs differ on half the images.
    assert table.loc["sgd", "function_memory"] == pytest.approx(0.6 / 2)
    assert table.loc["sgd", "largest"] == pytest.approx(0.5)
    assert table.loc["sgd", ["images", "seeds", "values"]].tolist() == [20, 5, 5]
    assert math.isnan(table.loc["adam", "function_memory"])
    accuracies = memory_over_images(runs, kept_of(sgd)).set_index("recipe")
    assert accuracies.loc["sgd", "accuracy_memory"] == pytest.approx(0.5)
    assert math.isnan(accuracies.loc["adam", "image_error"])


def test_a_map_has_each_pair_of_values_under_the_name_of_what_is_perturbed(
    runs: pd.DataFrame,
) -> None:
    sgd = runs[runs["optimizer"] == "sgd"].reset_index(drop=True)
    table = agreement_map(sgd, kept_of(sgd), perturbed="norm")
    assert list(table)[:3] == ["recipe", "norm", "other_norm"]
    found = table.pivot(index="norm", columns="other_norm", values="other_seeds")
    np.testing.assert_allclose(found.loc[0.1], [1, 1, 1, 0.5, 0.5])
    np.testing.assert_allclose(found, found.T)


def test_only_seeds_with_predictions_at_every_value_go_in(runs: pd.DataFrame) -> None:
    (recipe, _) = find_recipes(runs)
    kept = kept_of(runs)
    gone = runs["run_id"].iloc[recipe.rows[2, 1]]
    found = predictors_of(recipe, runs, {run: p for run, p in kept.items() if run != gone})
    assert found is not None
    assert found.seeds.tolist() == [seed for seed in recipe.seeds if seed != recipe.seeds[1]]


def test_a_run_that_diverged_before_it_had_a_model_is_a_guess(runs: pd.DataFrame) -> None:
    (recipe, _) = find_recipes(runs)
    row = recipe.rows[2, 1]
    lost = runs.copy()
    lost.loc[row, ["diverged", "test_accuracy"]] = [True, np.nan]
    kept = {run: p for run, p in kept_of(runs).items() if run != runs["run_id"].iloc[row]}
    found = predictors_of(find_recipes(lost)[0], lost, kept)
    assert found is not None
    assert found.guesses == 1
    assert (found.predicted[2, 1] == GUESS).all()
    assert found.seeds.size == 5


def test_predictions_of_two_test_sets_never_meet(runs: pd.DataFrame) -> None:
    (recipe, _) = find_recipes(runs)
    kept = dict(kept_of(runs))
    run = runs["run_id"].iloc[recipe.rows[0, 0]]
    one = kept[run]
    kept[run] = Predictions(one.labels + np.uint8(1), one.predicted, one.confidence, 10)
    with pytest.raises(ConfigError, match="predictions: one test set per recipe, got "):
        predictors_of(recipe, runs, kept)
