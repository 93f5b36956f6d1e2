"""What an experiment's recipes are called in a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exhibit_stores import store

from analysis.exhibits.columns import named
from analysis.exhibits.source import Source


def by_rate(row: Mapping[str, Any]) -> str:
    return f"η={row['learning_rate']:g}"


def source(**axis: tuple[object, ...]) -> Source:
    ((name, values),) = axis.items()
    recipes = [
        {"epochs": 3, "learning_rate": rate, "batch_size": 16, name: value}
        for rate in (1e-3, 1e-2)
        for value in values
    ]
    return Source(store("one", recipes, scales=(0.1, 1.0), seeds=(0,)))


def test_a_line_has_the_name_that_is_given_to_it_at_every_batch_size() -> None:
    lines = source(batch_size=(16, 64)).lines(by_rate)
    assert lines == {
        "η=0.001 b16": "η=0.001",
        "η=0.001 b64": "η=0.001",
        "η=0.01 b16": "η=0.01",
        "η=0.01 b64": "η=0.01",
    }


def test_two_recipes_of_one_panel_never_share_a_line() -> None:
    lines = source(width=(8, 16)).lines(by_rate)
    assert [line.partition(" (")[0] for line in lines.values()] == [
        "η=0.001",
        "η=0.001",
        "η=0.01",
        "η=0.01",
    ]
    assert all(line.endswith(f" ({label})") for label, line in lines.items())
    assert len(set(lines.values())) == 4


def test_two_optimizers_may_share_a_line_as_they_have_panels_of_their_own() -> None:
    lines = source(optimizer=("sgd", "adam")).lines(by_rate)
    assert list(lines.values()) == ["η=0.001", "η=0.01", "η=0.001", "η=0.01"]


def test_recipes_that_differ_in_a_rare_setting_alone_have_rows_of_their_own() -> None:
    recipes: list[dict[str, Any]] = [{"epochs": 5, "warmup_epochs": w} for w in (0, 2)]
    source = Source(store("warmed", recipes))
    rows = [named(row, source) for row in source.about.to_dict("records")]
    assert [row["warmup epochs"] for row in rows] == ["0", "2"]


def test_what_acts_under_one_optimizer_alone_has_no_column() -> None:
    recipes: list[dict[str, Any]] = [{"epochs": 5, "optimizer": o} for o in ("momentum", "adamw")]
    assert Source(store("rules", recipes)).other_settings == []
