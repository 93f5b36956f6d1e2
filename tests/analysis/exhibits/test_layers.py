"""The exhibits of layers: only where they were measured, and what they say of them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from exhibit_stores import demo
from layer_frames import NAMES, fading, made_layers

from analysis.estimates.layer_memory import layer_forgetting
from analysis.exhibits.layers import layers, layers_forgotten
from analysis.exhibits.part import CannotError
from analysis.exhibits.source import Source


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(replace(demo(), layers=made_layers(demo().runs, fading)))


@pytest.mark.parametrize("make", [layers, layers_forgotten])
def test_runs_of_earlier_versions_have_no_such_exhibit(make: object) -> None:
    with pytest.raises(CannotError, match="no run has its layers"):
        make(Source(demo()), "title")  # type: ignore[operator]


def test_the_maps_show_three_of_the_scales_and_the_table_has_all(source: Source) -> None:
    (part,) = layers(source, "title")
    assert part.table is not None
    assert part.figure is not None
    titles = [panel.get_title() for panel in part.figure.axes[:3]]
    assert [title.partition("σw = ")[2] for title in titles] == ["0.1", "1", "2.5"]
    assert part.table["sigma_w"].nunique() == 5
    assert "3 of 5 σw" in " ".join(part.caption)


def test_the_order_counts_what_crosses_at_once_and_never(source: Source) -> None:
    (part,) = layers_forgotten(source, "title")
    expected = layer_forgetting(source.store.runs, source.store.layers, recipes=source.recipes)
    assert part.table is not None
    assert part.table.equals(expected)
    cells = 3 * 5
    said = " ".join(part.caption)
    assert f"Of {4 * cells} layers" in said
    assert f"{3 * cells} cross, {cells} do within the first epoch, 0 do not" in said


def test_recipes_with_other_layers_have_a_page_of_their_own(source: Source) -> None:
    adam = demo().runs["optimizer"] == "adam"
    other = made_layers(demo().runs[adam].reset_index(drop=True), fading, names=NAMES[:3])
    mine = source.store.layers[~source.store.layers["run_id"].isin(demo().runs["run_id"][adam])]
    both = mine.assign(**{n: mine[n].astype(str) for n in ("run_id", "layer")})
    theirs = other.assign(**{n: other[n].astype(str) for n in ("run_id", "layer")})
    joined = pd.concat([both, theirs], ignore_index=True)
    parts = layers_forgotten(Source(replace(demo(), layers=joined)), "title")
    assert [part.page for part in parts] == ["1", "2"]
    widths = [part.figure.axes[0].images[0].get_array().shape for part in parts if part.figure]
    assert widths == [(2, 4), (1, 3)]


def test_a_part_of_the_runs_keeps_its_layers(source: Source) -> None:
    (whole,), (part,) = layers(source, "title"), layers(source.at([1.0]), "title")
    assert whole.table is not None
    assert part.table is not None
    expected = whole.table.query("sigma_w == 1").reset_index(drop=True)
    assert part.table.equals(expected)
