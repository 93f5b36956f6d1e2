"""Which recipe of a miniature stands for which of the paper's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from miniature_experiments import MINIATURES, TABLES, declare, with_tables
from pydantic import ValidationError

from analysis.claims.miniatures import Miniature
from analysis.claims.paper_file import PaperFile, TrainedClaim, paper
from analysis.claims.places import ReducedScale, find_places, reduced_scales
from analysis.claims.recipes import DeclaredRecipe, declared_recipe
from suite.declarations.experiments import EXPERIMENTS


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> PaperFile:
    return declare(monkeypatch)


def miniature_of(file: PaperFile, name: str) -> Miniature:
    (found,) = [one for one in file.miniatures if one.of == name]
    return found


@pytest.mark.parametrize(
    ("experiment", "point", "own"),
    [
        ("main", {"optimizer": "adam", "batch_size": 16}, {"optimizer": "adam", "batch_size": 8}),
        ("main", {"optimizer": "sgd", "batch_size": 128}, {"optimizer": "sgd", "batch_size": 64}),
        ("long", {"batch_size": 128}, {"batch_size": 64}),
        (
            "lr-l2",
            {"learning_rate": 1e-3, "kernel_l2": 5e-3, "batch_size": 16},
            {"learning_rate": 1e-2, "kernel_l2": 5e-2, "batch_size": 8},
        ),
        ("best", {"procedure": "sgd", "batch_size": 128}, {"procedure": "sgd", "batch_size": 64}),
    ],
)
def test_a_recipe_has_the_counterpart_that_the_tables_name(
    experiment: str, point: dict[str, Any], own: dict[str, Any], file: PaperFile
) -> None:
    found = miniature_of(file, experiment).counterpart(declared_recipe(experiment, point))
    assert isinstance(found, DeclaredRecipe)
    assert found.experiment == f"small-{experiment}"
    assert found.point == own
    assert found.config.fingerprint == MINIATURES[found.experiment].config(own).fingerprint
    paper, there = (one.axes["sigma_w"] for one in (EXPERIMENTS[experiment], found_axes(found)))
    assert found.scales == tuple(scale for scale in paper if scale in there)


def found_axes(found: DeclaredRecipe) -> Any:
    return EXPERIMENTS[found.experiment]


def test_different_recipes_have_different_counterparts(file: PaperFile) -> None:
    for miniature in file.miniatures:
        paper = EXPERIMENTS[miniature.of]
        recipes = {
            declared_recipe(miniature.of, {axis: point[axis] for axis in miniature.axes}).key: point
            for point in paper.points()
        }
        found = [
            miniature.counterpart(declared_recipe(miniature.of, {a: p[a] for a in miniature.axes}))
            for p in recipes.values()
        ]
        keys = [one.key for one in found if isinstance(one, DeclaredRecipe)]
        assert keys
        assert len(set(keys)) == len(keys)


def test_a_value_or_scale_without_a_counterpart_is_named(file: PaperFile) -> None:
    main = miniature_of(file, "main")
    large = declared_recipe("main", {"optimizer": "adam", "batch_size": 256})
    assert main.counterpart(large) == "small-main has no counterpart of batch_size=256"
    inner = declared_recipe("main", {"optimizer": "adam", "batch_size": 16}, [0.2, 2.5])
    assert main.counterpart(inner) == "small-main has no run at σw=0.2"


def test_each_value_on_an_axis_of_its_own_is_another_miniature(
    file: PaperFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = MINIATURES["small-long"]
    fixed = {name: value for name, value in long.fixed.items() if name != "learning_rate"}
    axes = {"learning_rate": (1e-3, 1e-2), **long.axes}
    monkeypatch.setitem(EXPERIMENTS, long.name, replace(long, axes=axes, fixed=fixed))
    found = [one for one in file.miniatures if one.of == "long"]
    assert [one.label for one in found] == ["small-long (η=0.001)", "small-long (η=0.01)"]
    recipe = found[0].counterpart(declared_recipe("long", {"batch_size": 128}))
    assert isinstance(recipe, DeclaredRecipe)
    assert recipe.point == {"learning_rate": 1e-3, "batch_size": 64}
    # The main grid in miniature has one rate, so that of the two can be compared with it.
    (order,) = [one for one in file.claim if one.id == "long-does-not-erase"]
    scales = list(reduced_scales(order, find_places({}, file.miniatures)))
    assert [one.label for one in scales if isinstance(one, ReducedScale)] == [
        "small-long (η=0.01), small-main"
    ]
    assert "small-long and small-main: η=0.001 and η=0.01 cannot be compared" in scales


def test_an_axis_without_a_table_has_the_papers_values(file: PaperFile) -> None:
    tables = {name: table for name, table in TABLES.items() if name != "small-main"}
    plain = miniature_of(with_tables(tables), "main")
    assert plain.axes["batch_size"] == {16: 16, 32: 32, 64: 64}
    assert plain.axes["optimizer"] == {o: o for o in EXPERIMENTS["main"].axes["optimizer"]}


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({}, "miniature.small-long.batch_size: must say which values stand for those of long"),
        (
            {"small-mian": {}},
            "miniature: must be an experiment that is one .*, got 'small-mian'",
        ),
        ({"main": {}}, "must be an experiment that is one .*, got 'main'"),
        ({"small-main": {"norm": TABLES["small-main"]["batch_size"]}}, "must be of the axes"),
        (
            {"small-main": {"batch_size": {"paper": [16], "miniature": [128]}}},
            "miniature.small-main.batch_size: must be of 8, 16, 32, 64 in small-main, got 128",
        ),
        (
            {"small-main": {"batch_size": {"paper": [17], "miniature": [8]}}},
            "must be of 16, 32, 64, 128, 256 in main, got 17",
        ),
        (
            {"small-main": {"batch_size": {"paper": [16, 32], "miniature": [8, 8]}}},
            "must have each value once, got 8, 8",
        ),
        (
            {"small-main": {"batch_size": {"paper": [16, 32], "miniature": [8]}}},
            "as many values of the miniature as of the paper, got 16, 32 and 8",
        ),
        (
            {"small-main": {"batch_size": {"paper": [16, 32], "miniature": [16, 8]}}},
            "must keep the order of the paper's numbers, got 16, 8 for 16, 32",
        ),
    ],
)
def test_a_mistake_in_a_table_is_one_line(
    tables: dict[str, Any], says: str, file: PaperFile
) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        with_tables(tables)
    (problem,) = caught.value.errors()
    assert "\n" not in problem["msg"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"miniature_of": "mian"}, "miniature_of: must be an experiment, got 'mian'"),
        ({"miniature_of": "lr-l2"}, "must have the axes of lr-l2 .learning_rate, kernel_l2, "),
    ],
)
def test_an_experiment_that_cannot_be_a_miniature_is_refused(
    change: dict[str, str], says: str, file: PaperFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPERIMENTS, "small-main", replace(MINIATURES["small-main"], **change))
    with pytest.raises(ValidationError, match=says):
        with_tables(TABLES)


@pytest.mark.parametrize("name", [n for n, one in EXPERIMENTS.items() if one.miniature_of])
def test_every_miniature_that_ships_decides_a_claim(name: str) -> None:
    places = find_places({}, paper().miniatures)
    of = [
        scale
        for claim in paper().claim
        if isinstance(claim, TrainedClaim) and not claim.only_full_scale
        for scale in reduced_scales(claim, places)
        if isinstance(scale, ReducedScale)
    ]
    assert name in {place.experiment for scale in of for place in scale.places}
