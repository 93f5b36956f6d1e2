"""Memory of another setting than σw: of numbers such as σb, and of categories."""

from __future__ import annotations

import math

import numpy as np
import pytest
from perturbed_frames import perturbed_store

from analysis.estimates.dose_response import dose_response
from analysis.estimates.memory import memory
from analysis.estimates.memory_by_epoch import memory_by_epoch
from analysis.estimates.norm_memory import norm_memory
from analysis.estimates.overview import estimate
from analysis.estimates.recipes import find_recipes, other_initials
from analysis.estimates.scale_table import by_scale, interpolation
from analysis.estimates.sensitivity import curves, sensitivity
from analysis.estimates.variance import variance_shares
from analysis.store.frames import Store
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig
from suite.declarations.perturbation import perturbation

BIASES = {0.0: 0.50, 0.2: 0.72, 2.0: 0.60}
FORMATS = {"fp32": 0.8, "bf16": 0.6}
SIGMA_B = perturbation("sigma_b")


@pytest.fixture(scope="module")
def biases() -> Store:
    return perturbed_store("sigma_b", BIASES, scales=(0.5, 1.0))


def test_memory_of_sigma_b_is_the_largest_less_the_smallest_accuracy_over_sigma_b(
    biases: Store,
) -> None:
    table = memory(biases.runs, recipes=find_recipes(biases.runs, SIGMA_B), permutations=10)
    np.testing.assert_allclose(table[["memory", "corrected"]], 0.72 - 0.50)
    assert set(table["sigma_b_top"]) == {0.2}
    assert set(table["sigma_b_bottom"]) == {0.0}
    assert set(table["scales"]) == {3}


def test_sigma_w_is_part_of_the_recipe_and_of_its_name_where_sigma_b_is_perturbed(
    biases: Store,
) -> None:
    recipes = find_recipes(biases.runs, SIGMA_B)
    assert [one.label for one in recipes] == ["σw=0.5", "σw=1"]
    assert [one.scales.tolist() for one in recipes] == [sorted(BIASES)] * 2
    assert [one.identity["sigma_w"] for one in recipes] == [0.5, 1.0]
    assert [one.name for one in other_initials(recipes)] == ["sigma_w"]


def test_the_same_runs_are_recipes_of_one_sigma_b_each_where_sigma_w_is_perturbed(
    biases: Store,
) -> None:
    recipes = find_recipes(biases.runs)
    assert [one.label for one in recipes] == ["σb=0", "σb=0.2", "σb=2"]
    table = memory(biases.runs, recipes=recipes, permutations=10)
    np.testing.assert_allclose(table["memory"], 0.0, atol=1e-12)


def test_beta_is_the_slope_on_sigma_b_of_a_straight_line() -> None:
    store = perturbed_store("sigma_b", {0.0: 0.6, 0.5: 0.55, 2.0: 0.4})
    recipes = find_recipes(store.runs, SIGMA_B)
    table = sensitivity(store.runs, store.history, recipes=recipes)
    np.testing.assert_allclose(table["beta"], -0.1, atol=1e-12)
    found = dose_response(store.runs, recipes=recipes).iloc[0]
    assert found["slope"] == pytest.approx(-0.1)
    assert found["half"] == pytest.approx(1.0)  # of a line from 0 to 2, on a plain axis
    assert math.isnan(found["log_slope"])
    assert math.isnan(found["log_lack_of_fit"])


def test_tables_by_value_have_a_column_of_the_perturbed_setting(biases: Store) -> None:
    recipes = find_recipes(biases.runs, SIGMA_B)
    for table in (
        by_scale(biases.runs, biases.history, recipes=recipes),
        interpolation(biases.runs, biases.history, recipes=recipes),
    ):
        assert "sigma_w" not in table
        assert set(table["sigma_b"]) == set(BIASES)
    tests = estimate(biases, resamples=10).scales
    assert dict(zip(tests["sigma_b"], tests["mean"].round(9), strict=True)) == BIASES


def test_memory_and_shares_of_categories_are_those_of_their_means() -> None:
    store = perturbed_store("precision", FORMATS, noise=1e-6)
    recipes = find_recipes(store.runs, store.perturbation)
    (found,) = memory(store.runs, recipes=recipes, permutations=10).to_dict("records")
    assert found["memory"] == pytest.approx(0.2, abs=1e-4)
    assert (found["precision_top"], found["precision_bottom"]) == ("fp32", "bf16")
    (shares,) = variance_shares(store.runs, recipes=recipes).to_dict("records")
    assert shares["precision"] == pytest.approx(1.0, abs=1e-4)
    assert math.isnan(shares["trend"])
    course = memory_by_epoch(store.runs, store.history, recipes=recipes)
    np.testing.assert_allclose(course["memory"], 0.2, atol=1e-4)


def test_categories_stand_as_they_are_declared_and_have_no_slope() -> None:
    store = perturbed_store("precision", {"bf16": 0.6, "fp32": 0.8})
    (recipe,) = find_recipes(store.runs, store.perturbation)
    assert recipe.scales.tolist() == ["fp32", "bf16"]
    with pytest.raises(TypeError, match="precision has categories"):
        curves(store.runs, store.history, recipes=[recipe])
    found = estimate(store, resamples=10)
    assert found.betas.empty
    assert found.collapses.empty
    assert found.recipes["memory"].iloc[0] == pytest.approx(0.2)


def test_runs_of_one_value_and_seed_are_refused_where_a_setting_goes_with_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Were σb to act with σw=0.5 alone, both σb there would be one recipe of σw."""
    store = perturbed_store("sigma_b", {0.0: 0.5, 0.2: 0.6}, scales=(0.5,))
    conditions = {**RunConfig.conditions(), "sigma_b": {"sigma_w": (0.5,)}}
    monkeypatch.setattr(RunConfig, "conditions", classmethod(lambda _: conditions))
    with pytest.raises(ConfigError, match="sigma_w: one run for each value and seed"):
        find_recipes(store.runs)


def test_no_trace_of_the_initial_norm_is_claimed_where_the_perturbed_setting_leaves_it_alone(
    biases: Store,
) -> None:
    runs = biases.runs.copy()
    by_seed = 10 + runs["seed"].rank(method="dense")
    runs["kernel_norm_initial"] = by_seed * (1 + 1e-9 * runs["sigma_b"])
    table = norm_memory(runs, recipes=find_recipes(runs, SIGMA_B))
    assert table[["slope", "standard_error", "low", "high", "kept"]].isna().all(axis=None)
    np.testing.assert_allclose(table["initial_spread"], 1)
    assert (
        norm_memory(runs.assign(kernel_norm_initial=by_seed * runs["sigma_w"]))["slope"]
        .notna()
        .all()
    )
