from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import TRAIN_IMAGES, Truth, frames

from analysis.estimates.boundary import (
    boundaries,
    boundary,
    boundary_rates,
    seed_deviations,
)
from analysis.estimates.clock_axis import axes
from analysis.estimates.recipes import find_recipes
from suite.declarations.config import parse

LEVEL = 0.1


def logistic(log: np.ndarray, middle: float) -> np.ndarray:
    """Memory that falls from 2 × LEVEL to 0, through LEVEL at `middle`."""
    return 2 * LEVEL / (1 + np.exp(2 * (log - middle)))


def found(log: np.ndarray, values: np.ndarray, noise: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    deviations = noise * rng.standard_normal((log.size, 5))
    return boundary("T_SGD", log, values - LEVEL, deviations, LEVEL, rng, resamples=200)


def test_boundary_is_where_memory_falls_through_the_level() -> None:
    log = np.linspace(-3, 3, 13)
    one = found(log, logistic(log, 0.3))
    assert math.log(one.value) == pytest.approx(0.3, abs=0.05)
    assert one.low < one.value < one.high
    assert (one.recipes, one.misplaced, one.reason) == (13, 0, "")


def test_interval_holds_the_truth_in_most_noisy_sweeps() -> None:
    log = np.linspace(-3, 3, 12)
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        one = found(log, logistic(log, 0.3) + 0.02 * rng.standard_normal(12), 0.02, seed)
        held += one.low <= math.exp(0.3) <= one.high
    assert held >= 54


def test_the_interval_holds_what_lies_between_two_clock_values_that_recipes_share() -> None:
    """Adam, AdamW and Muon at one rate: memory falls somewhere between, and no draw says where."""
    log = np.repeat([0.0, 4.6], 6)  # two decades apart
    rng = np.random.default_rng(5)
    for truth in (0.3, 2.3, 4.3):
        one = found(log, logistic(log, truth) + 0.01 * rng.standard_normal(12), 0.01)
        assert math.log(one.low) <= truth <= math.log(one.high)
        assert (one.last_remembering, one.first_forgetting) == (1.0, pytest.approx(math.exp(4.6)))


@pytest.mark.parametrize("shared", [1, 3])
def test_the_interval_holds_the_boundary_whether_or_not_recipes_share_clock_values(
    shared: int,
) -> None:
    held, rng = [], np.random.default_rng(11)
    for seed in range(60):
        log = np.repeat(np.linspace(-3, 3, 12 // shared), shared)
        truth = rng.uniform(-2, 2)
        values = logistic(log, truth) + 0.03 * rng.standard_normal(12)
        one = found(log, values, 0.02, seed)
        if not one.reason:
            held.append(one.low <= math.exp(truth) <= one.high)
    assert len(held) > 50
    assert np.mean(held) >= 0.88  # of 95 %, 2.5 binomial errors below


def test_recipes_on_the_wrong_side_are_counted() -> None:
    log = np.array([-2.0, -1, 0, 1, 2, 3])
    memory_of = np.array([0.2, 0.2, 0.01, 0.2, 0.0, 0.0])
    assert found(log, memory_of).misplaced == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.2, 0.2, 0.3, 0.2], "not crossed: all 4 recipes that T_SGD governs remember"),
        ([0.0, 0.0, 0.05, 0.0], "not crossed: all 4 recipes that T_SGD governs forget"),
        ([0.0, 0.0, 0.2, 0.2], "not crossed: memory does not fall along this clock"),
        ([0.2, 0.2, 0.0], "too few recipes: T_SGD governs 3 with an interval, of 4 needed"),
    ],
)
def test_no_boundary_is_said_with_its_reason(values: list[float], reason: str) -> None:
    one = found(np.arange(len(values), dtype=float), np.array(values))
    assert one.reason == reason
    assert math.isnan(one.value)


def test_without_an_interval_anywhere_it_is_recipes_that_are_missing_not_memory() -> None:
    none = np.array([])
    one = boundary("T_SGD", none, none, np.empty((0, 1)), math.nan, np.random.default_rng(0))
    assert one.reason == "too few recipes: T_SGD governs 0 with an interval, of 4 needed"


def test_recipes_at_one_clock_value_have_no_boundary() -> None:
    one = found(np.zeros(4), np.array([0.2, 0.2, 0.0, 0.0]))
    assert one.reason == "not crossed: all recipes stand at one value of the clock"


def test_interval_is_open_where_a_single_recipe_forgets() -> None:
    log = np.arange(6, dtype=float)
    one = found(log, np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.0]))
    assert math.isinf(one.high)
    assert math.isfinite(one.value)


def test_only_recipes_that_a_clock_governs_decide() -> None:
    table = pd.DataFrame(
        {
            "T_SGD": np.geomspace(1e-3, 1, 8),
            "T_L2": 0.0,
            "T_adapt": np.geomspace(1, 10, 8),
            "own_clock": "T_SGD",
            "corrected": [0.2] * 4 + [0.0] * 4,
        }
    )
    whole = boundaries(table, np.zeros((8, 3)), LEVEL).set_index("clock")
    assert table["T_SGD"][3] <= whole.loc["T_SGD", "value"] <= table["T_SGD"][4]
    assert whole.loc["T_adapt", "recipes"] == 0
    again = boundaries(table, np.zeros((8, 3)), LEVEL).set_index("clock")
    pd.testing.assert_frame_equal(whole, again)


def test_seed_deviations_are_the_seeds_own_differences_at_the_extreme_scales() -> None:
    truth = Truth(test_accuracy=lambda _, scales: 0.9 - 0.1 * scales, test_noise=0.02)
    runs, _ = frames([{"batch_size": 32}], truth, np.random.default_rng(3))
    recipes = find_recipes(runs)
    (row,) = seed_deviations(runs, recipes)
    ends = runs.pivot(index="seed", columns="sigma_w", values="test_accuracy").sort_index()
    pairs = (ends[0.1] - ends[2.5]).to_numpy()
    np.testing.assert_allclose(row, pairs - pairs.mean(), atol=1e-12)


@pytest.mark.parametrize(("clock", "kernel_l2"), [("T_SGD", 0.0), ("T_L2", 0.01)])
def test_training_at_the_boundary_rate_ends_on_the_boundary(clock: str, kernel_l2: float) -> None:
    config = parse({"dataset": "digits", "epochs": 20, "batch_size": 32, "kernel_l2": kernel_l2})
    end = {name: values[-1] for name, values in axes(config, TRAIN_IMAGES).items()}
    recipes = pd.DataFrame(
        [
            end
            | {"facet": "", "own_clock": clock, "batch_size": 32}
            | {"learning_rate": config.learning_rate}
        ]
    )
    known = pd.DataFrame([{"clock": clock, "value": 1e-4, "low": 5e-5, "high": math.inf}])
    (row,) = boundary_rates(recipes, known).to_dict("records")
    there = axes(config.with_(learning_rate=row["rate"]), TRAIN_IMAGES)[clock][-1]  # type: ignore[index]
    assert there == pytest.approx(1e-4, rel=1e-9)
    assert row["low"] < row["rate"] < row["high"] == math.inf
