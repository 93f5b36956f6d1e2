from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from figure_frames import panels, recipe_table
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.direct_labels import Labels
from analysis.figures.memory_by_clock import memory_by_clock, shown_clocks

ORANGE = style.optimizer_look("sgd").colour


@pytest.fixture(autouse=True)
def _looks_as_in_the_commands() -> Iterator[None]:
    with mpl.rc_context():
        style.apply()
        yield


def words(figure: Figure) -> str:
    legend = [text.get_text() for one in figure.legends for text in one.get_texts()]
    return "\n".join([figure.get_suptitle(), *legend])


def boundary_table(value: float = 0.02) -> pd.DataFrame:
    found = {"level": 0.12, "recipes": 6, "misplaced": 1, "reason": ""}
    none = {"value": math.nan, "low": math.nan, "high": math.nan, "misplaced": 0}
    return pd.DataFrame(
        [
            found | {"clock": "T_SGD", "value": value, "low": value / 3, "high": math.inf},
            found | none | {"clock": "T_L2", "reason": "too few recipes: T_L2 governs 0"},
            found | none | {"clock": "T_adapt", "reason": "not crossed: all 6 forget"},
        ]
    )


def with_adam(**changes: Any) -> pd.DataFrame:
    """SGD's recipes, and as many of Adam that T_adapt governs and that remember little."""
    sgd = recipe_table()
    adam = sgd.assign(
        optimizer="adam", family="adam " + sgd["family"], own_clock="T_adapt", corrected=0.01
    )
    return pd.concat([sgd, adam.assign(**changes)], ignore_index=True)


def drawn(table: pd.DataFrame, value: float = 0.02) -> Figure:
    return memory_by_clock(table, boundary_table(value), "title")


def scatters(panel: Any) -> list[Any]:
    return [one for one in panel.collections if one.get_label() in ("SGD", "Adam")]


def test_each_recipe_stands_with_its_interval_in_the_panel_of_the_clock_that_governs_it() -> None:
    table = recipe_table()
    (sgd,) = panels(drawn(table))
    assert sgd.get_xlabel().startswith("T_SGD")
    assert sgd.get_xscale() == "log"
    (points,) = scatters(sgd)
    np.testing.assert_allclose(points.get_offsets()[:, 0], table["T_SGD"])
    np.testing.assert_allclose(points.get_offsets()[:, 1], 100 * table["corrected"])
    (bars,) = sgd.containers
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()], float)
    np.testing.assert_allclose(ends, 100 * table[["low", "high"]])
    assert sgd.get_xlim()[0] < table["T_SGD"].min() < table["T_SGD"].max() < sgd.get_xlim()[1]


def test_recipes_that_another_clock_governs_are_grey_dots_and_have_no_interval() -> None:
    table = with_adam()
    sgd, adapt = panels(drawn(table))
    for panel, clock, own in ((sgd, "T_SGD", "SGD"), (adapt, "T_adapt", "Adam")):
        assert [one.get_label() for one in scatters(panel)] == [own]
        (grey,) = [line for line in panel.get_lines() if line.get_label() == "elsewhere"]
        rest = table[table["own_clock"] != clock]
        np.testing.assert_allclose(np.asarray(grey.get_xdata(), float), rest[clock])
        assert len(panel.containers) == 1
    assert "another clock governs" in words(drawn(table))
    assert "another clock governs" not in words(drawn(recipe_table()))


@pytest.mark.parametrize(
    ("changes", "clocks"),
    [
        ({}, ["T_SGD", "T_adapt"]),
        ({"T_adapt": 1.0, "own_clock": "T_SGD"}, ["T_SGD"]),
        ({"T_L2": np.linspace(1, 2, 6), "own_clock": "T_L2"}, ["T_SGD", "T_L2"]),
    ],
)
def test_only_clocks_that_vary_and_govern_a_recipe_have_a_panel(
    changes: dict[str, Any], clocks: list[str]
) -> None:
    table = with_adam(**changes)
    assert shown_clocks(table) == clocks
    assert [p.get_xlabel().split()[0] for p in panels(drawn(table))] == clocks


def test_recipes_with_failed_runs_are_ringed() -> None:
    assert "some runs failed" not in words(drawn(recipe_table()))
    table = recipe_table().assign(diverged=[0, 0, 2, 0, 0, 0], untrained=[0, 0, 0, 0, 1, 0])
    figure = drawn(table)
    (panel,) = panels(figure)
    (rings,) = [one for one in panel.collections if one.get_label() == "failed"]
    np.testing.assert_allclose(rings.get_offsets()[:, 0], table["T_SGD"].iloc[[2, 4]])
    assert "some runs failed" in words(figure)


def test_a_memory_of_failure_stands_at_the_edge_and_leaves_the_axis_to_the_others() -> None:
    table = recipe_table()
    failing = table.assign(
        untrained=[5, *[0] * 5],
        scales_failed=[1, *[0] * 5],
        corrected=[0.85, *table["corrected"][1:]],
    )
    failing = failing.assign(memory=failing["corrected"], high=failing["corrected"] + 0.03)
    (before,), (after,) = panels(drawn(table)), panels(drawn(failing))
    assert after.get_ylim()[1] == pytest.approx(before.get_ylim()[1], rel=0.2)
    (points,) = scatters(after)
    heights = np.asarray(points.get_offsets())[:, 1]
    assert heights.max() == pytest.approx(0.97 * after.get_ylim()[1])


def test_where_no_clock_varies_those_that_govern_have_a_panel() -> None:
    still = {"T_SGD": 1e-3, "T_adapt": 2.0}
    table = with_adam().assign(**still)
    assert shown_clocks(table) == ["T_SGD", "T_adapt"]
    assert len(panels(drawn(table, math.nan))) == 2


def test_recipes_of_unknown_memory_are_left_out() -> None:
    table = with_adam(memory=math.nan, corrected=math.nan, low=math.nan, high=math.nan)
    assert len(panels(drawn(table))) == 1


def test_boundary_bracket_and_sides_are_drawn_and_the_numbers_printed() -> None:
    (panel,) = panels(drawn(recipe_table(), 0.02))
    vertical = [line for line in panel.get_lines() if list(line.get_xdata()) == [0.02, 0.02]]
    assert len(vertical) == 1
    (bracket,) = [line for line in panel.get_lines() if line.get_marker() == "|"]
    assert list(bracket.get_xdata()) == [0.02 / 3]  # open to the right
    assert list(bracket.get_ydata()) == [12.0]
    assert panel.get_title().startswith("boundary 0.02 [0.0067, ∞]\n6 recipes decide, 1 on the")
    colours = [patch.get_facecolor()[:3] for patch in panel.patches]
    sides = [to_rgb(style.REMEMBER_COLOUR), to_rgb(style.FORGET_COLOUR)]
    assert colours[:2] == sides
    assert "half of the largest memory (12.0 pp)" in words(drawn(recipe_table()))


def test_a_panel_without_a_boundary_says_why_and_has_the_colour_of_the_one_side() -> None:
    _, adapt = panels(drawn(with_adam()))
    assert adapt.get_title() == "not crossed:\nall 6 forget"
    assert [p.get_facecolor()[:3] for p in adapt.patches] == [to_rgb(style.FORGET_COLOUR)]
    assert "forgets" in [text.get_text() for text in adapt.texts]
    _, adapt = panels(drawn(with_adam(corrected=0.2)))
    assert [p.get_facecolor()[:3] for p in adapt.patches] == [to_rgb(style.REMEMBER_COLOUR)]
    mixed = with_adam(corrected=[0.01, 0.2] * 3)
    assert not panels(drawn(mixed))[1].patches
    few = boundary_table().assign(reason=["", "", "too few recipes: T_adapt governs 1"])
    assert not panels(memory_by_clock(with_adam(), few, "title"))[1].patches


def test_the_higher_the_learning_rate_the_fuller_the_marker() -> None:
    (panel,) = panels(drawn(recipe_table()))
    (points,) = scatters(panel)
    by_rate = dict(zip(recipe_table()["learning_rate"], points.get_facecolors(), strict=True))
    light = [by_rate[rate][:3].sum() for rate in (1e-3, 1e-2, 1e-1)]
    assert light == sorted(light, reverse=True)
    np.testing.assert_allclose(by_rate[1e-1], to_rgba(ORANGE))
    assert {"η0 = 0.001", "η0 = 0.01", "η0 = 0.1"} <= set(words(drawn(recipe_table())).split("\n"))


def test_the_fill_shows_l2_where_the_rate_does_not_vary_and_nothing_where_neither_does() -> None:
    table = recipe_table().assign(learning_rate=1e-2, kernel_l2=[0, 0, 0.1, 0.1, 0.2, 0.2])
    assert "λ = 0.2" in words(drawn(table))
    said = words(drawn(table.assign(kernel_l2=0.0)))
    assert "λ" not in said
    assert "η0" not in said


def test_recipes_that_differ_in_batch_size_alone_are_joined() -> None:
    (panel,) = panels(drawn(recipe_table()))
    joined = [line for line in panel.get_lines() if line.get_alpha() == 0.45]
    assert [len(line.get_xdata()) for line in joined] == [2, 2, 2]
    assert "differ in batch size alone" in words(drawn(recipe_table()))


def test_optimizers_at_one_clock_value_stand_side_by_side() -> None:
    one = recipe_table().head(1)
    table = pd.concat([one, one.assign(optimizer="adam")], ignore_index=True)
    (panel,) = panels(drawn(table))
    places = [points.get_offsets()[0, 0] for points in scatters(panel)]
    assert places[0] < one["T_SGD"].iloc[0] < places[1]
    np.testing.assert_allclose(places, one["T_SGD"].iloc[0], rtol=0.1)


def test_a_name_stands_beside_the_points_or_else_in_the_legend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figure = drawn(with_adam())
    beside = {text.get_text() for panel in panels(figure) for text in panel.texts}
    assert {"SGD", "Adam"} <= beside
    assert not {"SGD", "Adam"} & set(words(figure).split("\n"))
    monkeypatch.setattr(Labels, "write", lambda _, text, *__: text == "Adam")
    said = words(drawn(with_adam())).split("\n")
    assert "SGD" in said
    assert "Adam" not in said


def test_names_cover_neither_points_nor_one_another() -> None:
    figure = drawn(with_adam())
    figure.draw_without_rendering()
    for panel in panels(figure):
        boxes = [text.get_window_extent() for text in panel.texts]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
            for collection in scatters(panel):
                places = panel.transData.transform(collection.get_offsets())
                assert not any(box.contains(x, y) for x, y in places)


def test_one_seed_is_drawn_by_the_papers_definition_without_an_interval() -> None:
    table = recipe_table().assign(corrected=math.nan, low=math.nan, high=math.nan)
    (panel,) = panels(drawn(table, math.nan))
    np.testing.assert_allclose(scatters(panel)[0].get_offsets()[:, 1], 100 * table["memory"])


def test_an_interval_far_above_all_memories_is_cut_off() -> None:
    table = recipe_table()
    table.loc[0, "high"] = 0.95
    (panel,) = panels(drawn(table))
    assert panel.get_ylim()[1] < 50
