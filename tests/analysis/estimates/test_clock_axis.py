from __future__ import annotations

import numpy as np
import pytest
from synthetic_frames import TRAIN_IMAGES, Truth, frames

from analysis.estimates.clock_axis import AXES, axes, clock_frame, own_clock, recipe_axes
from analysis.estimates.recipes import find_recipes
from suite.declarations.config import parse

RECIPES = [
    {"batch_size": 16, "kernel_l2": 0.01, "learning_rate": 0.1},
    {"batch_size": 128, "optimizer": "adam", "epochs": 12},
]


def by_hand(b: int, epochs: int, eta: float, l2: float, *, cosine: bool) -> np.ndarray:
    """T_SGD, T_L2 and T_adapt at each epoch, one step after another."""
    per_epoch = -(-TRAIN_IMAGES // b)
    total, sums, rows = per_epoch * epochs, np.zeros(3), []
    for k in range(total):
        wave = 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * k / total))
        rate = eta * wave if cosine else eta
        sums += rate**2 / b, l2 * rate, rate
        if (k + 1) % per_epoch == 0:
            rows.append(sums.copy())
    return np.array(rows)


@pytest.mark.parametrize("constant_rate", [False, True])
def test_clocks_are_the_sums_over_every_step(constant_rate: bool) -> None:
    runs, _ = frames(RECIPES, Truth(), np.random.default_rng(0), seeds=(0,))
    fast, slow = find_recipes(runs)
    for recipe, expected in (
        (slow, by_hand(16, 30, 0.1, 0.01, cosine=not constant_rate)),
        (fast, by_hand(128, 12, 0.001, 0.0, cosine=not constant_rate)),
    ):
        values = recipe_axes(recipe, constant_rate=constant_rate)
        found = np.column_stack([values["T_SGD"], values["T_L2"], values["T_adapt"]])
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert values["steps"][-1] == recipe.config.epochs * -(-1000 // recipe.config.batch_size)


def test_the_last_values_are_the_clocks_that_runs_log() -> None:
    runs, _ = frames(RECIPES, Truth(), np.random.default_rng(0), seeds=(0,))
    for recipe in find_recipes(runs):
        values, row = recipe_axes(recipe), runs.iloc[int(recipe.rows[0, 0])]
        assert values["T_SGD"][-1] == row["clock_sgd"]
        assert values["T_L2"][-1] == row["clock_l2"]
        assert values["T_adapt"][-1] == row["clock_adapt"]


def test_the_paper_s_numerical_check_is_found_with_its_constant_rate() -> None:
    paper = {"dataset": "cifar10", "batch_size": 128, "epochs": 300, "learning_rate": 1e-3}
    values = axes(parse(paper), 40_000, constant_rate=True)
    assert values["T_SGD"][-1] == pytest.approx(7.3e-4, rel=0.01)
    values = axes(
        parse(paper | {"learning_rate": 1e-2, "kernel_l2": 1e-3}), 40_000, constant_rate=True
    )
    assert values["T_L2"][-1] == pytest.approx(0.94, rel=0.01)


def test_the_frame_has_every_axis_of_every_recipe_at_every_epoch() -> None:
    runs, _ = frames(RECIPES, Truth(), np.random.default_rng(0), seeds=(0, 1))
    found = clock_frame(runs)
    recipes = find_recipes(runs)
    assert len(found) == sum(recipe.config.epochs for recipe in recipes)
    for recipe in recipes:
        rows = found[found["recipe"] == recipe.label]
        for axis in AXES:
            np.testing.assert_array_equal(rows[axis], recipe_axes(recipe)[axis])


def test_the_clock_of_a_recipe_follows_its_mechanism() -> None:
    assert own_clock(parse({"optimizer": "sgd"})) == "T_SGD"
    assert own_clock(parse({"optimizer": "momentum", "kernel_l2": 1e-3})) == "T_L2"
    assert own_clock(parse({"optimizer": "muon_keras", "kernel_l2": 1e-3})) == "T_adapt"
    assert own_clock(parse({"optimizer": "lion", "kernel_l2": 1e-3})) == "T_adapt"
