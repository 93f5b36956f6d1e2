from __future__ import annotations

import numpy as np
import pytest
from claim_stores import store
from synthetic_frames import Truth, frames

from analysis.estimates.overview import estimate, verdict
from analysis.store.frames import Store
from suite.declarations.config import RunConfig


def decay(config: RunConfig) -> np.ndarray:
    return np.asarray(-0.1 * np.exp(-np.arange(config.epochs) * config.batch_size / 300))


def made(recipes: list[dict[str, object]]) -> Store:
    return store("made", *frames(recipes, Truth(beta=decay), np.random.default_rng(0)))


def test_collapses_are_measured_of_recipes_that_differ_in_batch_size_alone() -> None:
    recipes: list[dict[str, object]] = [
        {"batch_size": b, "optimizer": o, "epochs": 20} for b in (16, 64) for o in ("sgd", "adam")
    ]
    recipes.append({"batch_size": 16, "optimizer": "momentum", "epochs": 20})
    found = estimate(made(recipes), resamples=10)
    assert found.collapses["family"].unique().tolist() == ["sgd", "adam"]
    assert (found.collapses["curves"] == 2).all()
    assert found.collapses["axis"].tolist() == ["epoch", "T_SGD", "epoch", "T_adapt"]


def test_without_several_batch_sizes_there_is_no_collapse_to_measure() -> None:
    assert estimate(made([{"epochs": 20}]), resamples=10).collapses.empty


@pytest.mark.parametrize(
    ("low", "high", "level", "word"),
    [
        (0.12, 0.2, 0.1, "remembers"),
        (0.0, 0.08, 0.1, "forgets"),
        (0.05, 0.15, 0.1, "between"),
        (0.0, 0.02, np.nan, "no level"),
        (np.nan, np.nan, 0.1, "unknown"),
    ],
)
def test_verdict_follows_the_interval(low: float, high: float, level: float, word: str) -> None:
    assert verdict(low, high, level) == word


def test_a_recipe_that_does_not_train_at_a_scale_sets_no_level_and_decides_no_boundary() -> None:
    def accuracy(config: RunConfig, scales: np.ndarray) -> np.ndarray:
        if config.norm == "layer":
            return np.where(scales > 2, 0.1, 0.95)
        return 0.9 - 0.2 * 16 / config.batch_size * (scales - 0.1) / 2.4

    recipes: list[dict[str, object]] = [{"batch_size": b} for b in (16, 32, 64, 128)]
    truth = Truth(test_accuracy=accuracy)
    without = store("made", *frames(recipes, truth, np.random.default_rng(0)))
    recipes.append({"batch_size": 64, "norm": "layer"})
    runs, history = frames(recipes, truth, np.random.default_rng(0))
    found = estimate(store("made", runs, history), resamples=10)
    table = found.recipes.set_index("recipe")
    assert table.loc[table["verdict"] == "fails", "scales_failed"].tolist() == [1]
    assert table["memory"].max() == pytest.approx(0.85, abs=0.02)
    assert found.level == pytest.approx(estimate(without, resamples=10).level, abs=0.01)
    assert found.boundaries.set_index("clock").loc["T_SGD", "recipes"] == 4
