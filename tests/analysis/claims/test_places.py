"""Where recipes have counterparts, and which of these can be compared."""

from __future__ import annotations

from typing import Any

import pytest
from claim_stores import paper_store
from miniature_experiments import declare

from analysis.claims.differences import changes
from analysis.claims.matching import found_changes
from analysis.claims.paper_file import paper
from analysis.claims.places import Place, find_places, incomparable, reduced_scales
from analysis.claims.recipes import DeclaredRecipe, command, declared_recipe
from analysis.claims.runs import ExperimentRuns
from suite.declarations.experiments import EXPERIMENTS


def trained(experiment: str, *others: dict[str, Any]) -> list[dict[str, Any]]:
    """What is found of an experiment whose recipes were all trained, with some changes."""
    found = EXPERIMENTS[experiment]
    points = {tuple(p.items())[:-2]: p for p in found.points()}.values()
    base = {"sigma_w": 1.0, "seed": 0}
    configs = [found.config(point).with_(**base, **made) for made in others for point in points]
    return found_changes(found, configs)


@pytest.mark.parametrize("experiment", ["main", "long", "lr-l2", "norm-aug", "best", "depth"])
def test_an_experiment_as_declared_has_no_changes(experiment: str) -> None:
    assert trained(experiment, {}) == [{}]


@pytest.mark.parametrize("experiment", ["main", "lr-l2", "norm-aug", "best", "depth"])
def test_settings_that_were_changed_are_found_whatever_the_axes(experiment: str) -> None:
    made = {"width": 4, "epochs": 20, "train_fraction": 0.5}
    assert trained(experiment, made) == [made]
    assert trained(experiment, {}, made) == [{}, made]


def test_a_recipe_that_is_on_no_axis_stands_for_nothing() -> None:
    assert trained("main", {"batch_size": 8}) == []


def test_a_setting_inside_a_bundle_may_be_changed() -> None:
    made = {"learning_rate": 0.03}
    assert trained("best", made) == [made]


def test_a_setting_that_acts_in_one_of_two_only_is_a_change() -> None:
    config = EXPERIMENTS["main"].config({"optimizer": "sgd", "batch_size": 16})
    assert changes(config, config.with_(schedule="constant")) == {"schedule": "constant"}
    flat = config.with_(schedule="constant")
    assert changes(flat, config) == {"schedule": "cosine", "cosine_alpha": 0.01}


def test_the_command_for_a_changed_experiment_says_the_changes() -> None:
    place = Place("main", "main", changes={"width": 8, "epochs": 20})
    recipe = declared_recipe("main", {"optimizer": "sgd", "batch_size": 16})
    found = place.counterpart(recipe)
    assert isinstance(found, DeclaredRecipe)
    assert found.config == recipe.config.with_(width=8, epochs=20)
    start = "python -m suite.grid --experiment main"
    assert command([found], 3) == (
        f"{start} --set optimizer=sgd --set batch_size=16 --set width=8 --set epochs=20"
    )


def test_a_change_that_a_rule_cannot_have_leaves_it_without_a_counterpart() -> None:
    place = Place("main", "main", changes={"momentum": 0.5})
    recipe = declared_recipe("main", {"optimizer": "sgd", "batch_size": 16})
    assert place.counterpart(recipe) == "main (μ=0.5) has no counterpart of sgd b16"


# ------------------------------------------------------------------- what can be compared
MAIN = declared_recipe("main", {"optimizer": "sgd", "batch_size": 128})
LONG = declared_recipe("long", {"batch_size": 128})
DEEP = declared_recipe("depth", {"architecture": "resnet56", "optimizer": "sgd", "batch_size": 128})


def pairs(*made: tuple[DeclaredRecipe, dict[str, Any]]) -> list[Any]:
    return [
        (recipe, Place(recipe.experiment, recipe.experiment, changes=changed).counterpart(recipe))
        for recipe, changed in made
    ]


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ((MAIN, {"width": 8}), (LONG, {"width": 8}), ""),
        ((MAIN, {"width": 8}), (LONG, {"width": 16}), "width 8 and width 16 cannot be"),
        ((MAIN, {"epochs": 20}), (LONG, {"epochs": 300}), ""),  # the paper's differ in epochs
        ((MAIN, {"epochs": 300}), (LONG, {"epochs": 20}), "300 epochs and 20 epochs cannot be"),
        ((MAIN, {"epochs": 20}), (LONG, {"epochs": 20}), ""),
        ((MAIN, {"width": 8}), (DEEP, {"width": 8}), ""),
        ((MAIN, {"width": 8}), (DEEP, {}), "width 8 and width 16 cannot be"),  # turned round
        ((MAIN, {"precision": "bf16"}), (DEEP, {}), "bf16 and fp32 cannot be"),
    ],
)
def test_what_the_paper_holds_equal_must_be_equal(
    first: tuple[Any, Any], second: tuple[Any, Any], word: str
) -> None:
    says = incomparable(pairs(first, second))
    assert (word in says) if word else says == ""


def test_recipes_must_differ_in_what_the_claim_is_about() -> None:
    both = pairs((MAIN, {}), (LONG, {"schedule": "cosine"}))
    assert incomparable(both, ["schedule"]) == "main, long: all have cosine"
    assert incomparable(pairs((MAIN, {}), (LONG, {})), ["schedule"]) == ""


def test_runs_of_the_papers_recipes_are_no_reduced_scale() -> None:
    runs = {"main": ExperimentRuns(paper_store("main", {("sgd", 128): 26.5}, scales=(0.1, 2.5)))}
    (spread,) = [one for one in paper().claim if one.id == "sgd-b128-fits"]
    assert list(reduced_scales(spread, find_places(runs, []))) == []


def test_miniatures_and_the_papers_experiments_are_never_mixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = declare(monkeypatch)
    (order,) = [one for one in file.claim if one.id == "long-does-not-erase"]
    places = find_places({}, file.miniatures)
    labels = [one.label for one in reduced_scales(order, places) if not isinstance(one, str)]
    assert labels == ["small-long, small-main"]
