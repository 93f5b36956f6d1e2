from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import SCALES, SEEDS, Truth, frames

from analysis.estimates.recipes import find_recipes, names_without
from suite.declarations.config import ConfigError
from suite.declarations.experiments import EXPERIMENTS


def grid(axes: dict[str, tuple[object, ...]]) -> list[dict[str, object]]:
    recipes: list[dict[str, object]] = [{}]
    for name, values in axes.items():
        recipes = [{**recipe, name: value} for recipe in recipes for value in values]
    return recipes


def labels_of(recipes: list[dict[str, object]]) -> list[str]:
    runs, _ = frames(recipes, Truth(), np.random.default_rng(0), scales=(1.0,), seeds=(0,))
    return [recipe.label for recipe in find_recipes(runs)]


def experiment_labels(name: str) -> list[str]:
    configs = [c for c in EXPERIMENTS[name].configs() if c.seed in (0, 42)]
    runs = pd.DataFrame([config.model_dump() for config in configs])
    runs = runs.assign(diverged=False, train_images=40_000)
    return [recipe.label for recipe in find_recipes(runs)]


def test_labels_name_what_varies_in_a_stable_order() -> None:
    recipes = grid({"batch_size": (128, 16), "optimizer": ("adam", "sgd")})
    assert labels_of(recipes) == ["sgd b16", "sgd b128", "adam b16", "adam b128"]


def test_rates_and_l2_are_named_by_their_symbols() -> None:
    recipes = grid({"learning_rate": (0.01,), "kernel_l2": (0.0, 0.001), "batch_size": (16, 32)})
    assert labels_of(recipes)[2:] == ["λ=0.001 b16", "λ=0.001 b32"]


def test_a_recipe_at_the_value_that_all_runs_had_before_a_setting_came_has_a_name() -> None:
    assert labels_of(grid({"warmup_epochs": (5, 0)})) == ["warm-up 0", "warm-up 5"]
    assert labels_of(grid({"head_scale": (3.0, 1.0, 0.1)})) == ["head×0.1", "head×1", "head×3"]
    kinds = [{"optimizer": "sgd"}, {"optimizer": "momentum", "momentum_kind": "nesterov"}]
    assert labels_of(kinds)[0] == "sgd"  # it has no kind of momentum


def test_a_single_recipe_is_called_by_optimizer_and_batch_size() -> None:
    assert labels_of([{"optimizer": "momentum"}]) == ["momentum b64"]


def test_settings_that_follow_from_the_architecture_are_not_named() -> None:
    names = experiment_labels("depth")
    assert len(set(names)) == 30
    assert "resnet56 sgd b16" in names
    assert not any("patience" in name or "width" in name for name in names)


@pytest.mark.parametrize(
    ("name", "example", "count"),
    [
        ("main", "muon_keras b256", 25),
        ("lr-l2", "η=0.01 λ=0.001 b16", 24),
        ("norm-aug", "LN adam b128", 8),
        ("best", "momentum η=0.1 λ=0.0005 b16", 6),
        ("long", "b16", 2),
    ],
)
def test_every_experiment_has_short_unique_labels(name: str, example: str, count: int) -> None:
    names = experiment_labels(name)
    assert len(set(names)) == len(names) == count
    assert example in names


def test_other_settings_are_named_only_where_labels_would_clash() -> None:
    recipes: list[dict[str, object]] = [
        {"optimizer": "adamw", "weight_decay": 1e-4},
        {"optimizer": "adamw", "weight_decay": 1e-2},
        {"optimizer": "sgd"},
    ]
    assert labels_of(recipes) == ["sgd", "adamw decay 0.0001", "adamw decay 0.01"]


def test_the_width_of_the_paper_and_its_number_are_one_recipe() -> None:
    runs, _ = frames([{"width": 0}], Truth(), np.random.default_rng(0), seeds=(0, 1))
    runs.loc[runs["seed"] == 1, "width"] = 64
    assert len(find_recipes(runs)) == 1


def test_the_order_of_runs_does_not_matter() -> None:
    recipes = grid({"batch_size": (16, 128), "optimizer": ("adam", "sgd")})
    runs, _ = frames(recipes, Truth(), np.random.default_rng(3))
    again = runs.sample(frac=1, random_state=1).reset_index(drop=True)
    for one, two in zip(find_recipes(runs), find_recipes(again), strict=True):
        assert one.label == two.label
        values = [
            recipe.pivot(frame["test_accuracy"].to_numpy())
            for recipe, frame in ((one, runs), (two, again))
        ]
        np.testing.assert_array_equal(values[0], values[1])


def test_pivot_puts_every_value_at_its_scale_and_seed() -> None:
    runs, _ = frames([{}], Truth(), np.random.default_rng(0))
    (recipe,) = find_recipes(runs)
    code = 1000 * runs["sigma_w"] + runs["seed"]
    expected = 1000 * np.array(SCALES)[:, None] + np.array(SEEDS)[None]
    np.testing.assert_allclose(recipe.pivot(code.to_numpy()), expected)


def test_missing_runs_and_on_request_diverged_ones_are_nan() -> None:
    runs, _ = frames([{}], Truth(), np.random.default_rng(0))
    lost = (runs["sigma_w"] == 2.5) & (runs["seed"] == 42)
    runs = runs[~lost].reset_index(drop=True)
    runs["diverged"] = (runs["sigma_w"] == 2.5) & (runs["seed"] == 0)
    (recipe,) = find_recipes(runs)
    values = recipe.pivot(runs["test_accuracy"].to_numpy())
    assert np.isnan(values).sum() == 1
    assert (recipe.finished, recipe.diverged_count) == (24, 1)
    survivors = recipe.pivot(runs["test_accuracy"].to_numpy(), survivors=True)
    assert np.isnan(survivors).sum() == 2


def test_another_scale_of_the_biases_is_another_recipe_and_is_named() -> None:
    runs, _ = frames([{}], Truth(), np.random.default_rng(0))
    both = pd.concat([runs, runs.assign(sigma_b=0.1)], ignore_index=True)
    one, other = find_recipes(both)
    assert [one.label, other.label] == ["σb=0.1", "σb=0.2"]
    assert [one.config.sigma_b, other.config.sigma_b] == [0.1, 0.2]
    assert set(one.rows.ravel()) == set(range(len(runs), 2 * len(runs)))
    assert (one.finished, other.finished) == (len(runs), len(runs))


def test_recipes_that_differ_in_the_last_digit_have_different_labels() -> None:
    names = labels_of([{"learning_rate": 0.012345671}, {"learning_rate": 0.012345672}])
    assert names == ["η=0.012345671", "η=0.012345672"]


def test_names_without_a_setting_are_shared_by_what_agrees_in_all_else() -> None:
    recipes = grid({"optimizer": ("sgd", "adam"), "batch_size": (16, 64)})
    runs, _ = frames(recipes, Truth(), np.random.default_rng(0), scales=(1.0,), seeds=(0,))
    found = find_recipes(runs)
    assert names_without(found, "batch_size") == ["sgd", "sgd", "adam", "adam"]
    assert names_without(found, "optimizer") == ["b16", "b64", "b16", "b64"]


def test_two_training_splits_in_a_recipe_are_refused() -> None:
    runs, _ = frames([{}], Truth(), np.random.default_rng(0))
    runs.loc[0, "train_images"] = 7
    with pytest.raises(ConfigError, match="train_images: one training split per recipe"):
        find_recipes(runs)
