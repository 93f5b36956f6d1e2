from __future__ import annotations

import math

import numpy as np
import pandas as pd
from figure_frames import panels, recipe_table
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.memory_by_clock import memory_by_clock


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
            found | none | {"clock": "T_adapt", "reason": "not crossed: all 6 remember"},
        ]
    )


def test_clock_panels_show_every_recipe_with_its_interval() -> None:
    table = recipe_table()
    sgd, l2, adapt = panels(memory_by_clock(table, boundary_table(), "title"))
    bars = {p.get_xlabel().split()[0]: p.containers for p in (sgd, l2, adapt)}
    assert list(bars) == ["T_SGD", "T_L2", "T_adapt"]
    (drawn,) = bars["T_SGD"]
    x, y = (np.asarray(values, float) for values in drawn.lines[0].get_data())
    np.testing.assert_allclose(x, table["T_SGD"])
    np.testing.assert_allclose(y, 100 * table["corrected"])
    assert to_rgba(drawn.lines[0].get_color()) == to_rgba(style.optimizer_look("sgd").colour)
    ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()], float)
    np.testing.assert_allclose(ends, 100 * table[["low", "high"]])
    assert sgd.get_xscale() == "log"
    assert sgd.get_xlim()[0] < table["T_SGD"].min() < table["T_SGD"].max() < sgd.get_xlim()[1]


def test_points_are_filled_only_on_the_clock_that_governs_them() -> None:
    sgd, _, adapt = panels(memory_by_clock(recipe_table(), boundary_table(), "title"))
    assert sgd.containers[0].lines[0].get_markerfacecolor() == style.optimizer_look("sgd").colour
    assert adapt.containers[0].lines[0].get_markerfacecolor() == "white"


def test_boundary_is_drawn_and_printed_where_there_is_one_and_the_reason_elsewhere() -> None:
    figure = memory_by_clock(recipe_table(), boundary_table(0.02), "title")
    sgd, l2, adapt = panels(figure)
    vertical = [line for line in sgd.get_lines() if list(line.get_xdata()) == [0.02, 0.02]]
    assert len(vertical) == 1
    assert sgd.get_title().startswith("boundary 0.02 [0.0067, ∞]\n6 recipes decide, 1 on the")
    assert adapt.get_title() == "not crossed:\nall 6 remember"
    assert len(sgd.patches) == 3  # two regions and the interval
    assert not adapt.patches
    assert "the clock stands still" in l2.texts[0].get_text()
    assert "half of the largest memory (12.0 pp)" in words(figure)


def test_optimizers_at_one_clock_value_stand_side_by_side() -> None:
    one = recipe_table().head(1)
    table = pd.concat([one, one.assign(optimizer="momentum")], ignore_index=True)
    panel = panels(memory_by_clock(table, boundary_table(), "title"))[0]
    places = [bars.lines[0].get_xdata()[0] for bars in panel.containers]
    assert places[0] < one["T_SGD"].iloc[0] < places[1]
    np.testing.assert_allclose(places, one["T_SGD"].iloc[0], rtol=0.1)


def test_one_seed_is_drawn_by_the_papers_definition_without_an_interval() -> None:
    table = recipe_table().assign(corrected=math.nan, low=math.nan, high=math.nan)
    panel = panels(memory_by_clock(table, boundary_table(math.nan), "title"))[0]
    np.testing.assert_allclose(
        np.asarray(panel.containers[0].lines[0].get_ydata(), float), 100 * table["memory"]
    )
