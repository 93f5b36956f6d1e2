"""What the figures contain: series, labels, limits and colours, read back from matplotlib."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.accuracy import accuracy_by_scale
from analysis.figures.accuracy_map import accuracy_map
from analysis.figures.collapse import collapse_number, collapse_pages
from analysis.figures.memory_by_clock import memory_by_clock
from analysis.figures.memory_plane import memory_plane

SCALES = (0.1, 1.0, 2.5)


def panels(figure: Figure) -> list[Any]:
    """The panels that are seen, without colour bars."""
    return [p for p in figure.axes if p.get_visible() and p.get_label() != "<colorbar>"]


def words(figure: Figure) -> str:
    legend = [text.get_text() for one in figure.legends for text in one.get_texts()]
    return "\n".join([figure.get_suptitle(), *legend])


def scale_table() -> pd.DataFrame:
    rows = []
    for size in (16, 64):
        for optimizer, fall in (("sgd", 0.1), ("adam", 0.01)):
            for scale in SCALES:
                mean = 0.9 - fall * scale
                rows.append(
                    {
                        "recipe": f"{optimizer} b{size}",
                        "family": optimizer,
                        "optimizer": optimizer,
                        "batch_size": size,
                        "sigma_w": scale,
                        "n": 3,
                        "mean": mean,
                        "p10": mean - 0.01,
                        "p90": mean + 0.01,
                        "memory": 2.4 * fall,
                        "fitted_at_best": not (optimizer == "sgd" and scale > 1),
                    }
                )
    return pd.DataFrame(rows)


def recipe_table() -> pd.DataFrame:
    """SGD at three rates and two batch sizes; memory is lost from a rate of 1e-2 on at b = 16."""
    rows = []
    for rate, small, large in ((1e-3, 0.20, 0.24), (1e-2, 0.03, 0.20), (1e-1, 0.0, 0.01)):
        for size, value in ((16, small), (128, large)):
            rows.append(
                {
                    "family": f"η={rate:g}",
                    "facet": "sgd",
                    "optimizer": "sgd",
                    "learning_rate": rate,
                    "batch_size": size,
                    "T_SGD": rate**2 / size**2 * 1e6,
                    "T_L2": 0.0,
                    "T_adapt": rate / size * 1e4,
                    "own_clock": "T_SGD",
                    "memory": value + 0.005,
                    "corrected": value,
                    "low": max(0.0, value - 0.02),
                    "high": value + 0.03,
                }
            )
    return pd.DataFrame(rows)


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


def beta_table() -> pd.DataFrame:
    epoch = np.arange(1, 21)
    parts = []
    for size in (16, 32, 64):
        curve = 0.1 * np.exp(-epoch / (0.05 * size))
        clock = {"T_SGD": epoch / size**2, "T_L2": 0.0 * epoch, "T_adapt": epoch / size}
        parts.append(
            pd.DataFrame(
                {
                    "family": "adam",
                    "batch_size": size,
                    "own_clock": "T_adapt",
                    "epoch": epoch,
                    **clock,
                    "absolute": curve,
                    "floor_smooth": 1e-3,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def collapse_table() -> pd.DataFrame:
    shared = {"family": "adam", "reason": ""}
    return pd.DataFrame(
        [
            shared
            | {"axis": "epoch", "verdict": "no better", "quality": 432.1}
            | {"quality_low": 400.0, "quality_high": 470.0},
            shared
            | {"axis": "T_adapt", "verdict": "collapses", "quality": 1.23}
            | {"quality_low": 0.8, "quality_high": 1.9},
        ]
    )


def test_each_optimizer_keeps_its_colour_and_name_in_every_panel() -> None:
    figure = accuracy_by_scale(scale_table(), "title")
    assert [p.get_title() for p in panels(figure)] == ["batch size 16", "batch size 64"]
    for panel in panels(figure):
        sgd, adam = panel.get_lines()
        assert to_hex(sgd.get_color()).upper() == style.optimizer_look("sgd").colour
        assert to_hex(adam.get_color()).upper() == style.optimizer_look("adam").colour
        assert sgd.get_label() == "SGD  (spread 24.0 pp)"
        np.testing.assert_allclose(sgd.get_ydata(), 0.9 - 0.1 * np.array(SCALES))


def test_an_optimizer_that_nobody_has_given_a_look_is_drawn_under_its_own_name() -> None:
    table = scale_table().replace({"optimizer": {"adam": "signsgd"}})
    for panel in panels(accuracy_by_scale(table, "title")):
        drawn = panel.get_lines()[1]
        assert str(drawn.get_label()).startswith("signsgd")
        assert drawn.get_color() not in {look.colour for look in style.OPTIMIZERS.values()}


def test_recipes_of_one_optimizer_are_named_by_their_settings_beside_the_panel() -> None:
    table = pd.concat(
        [
            scale_table().query("batch_size == 16 and optimizer == 'sgd'").assign(recipe=f"η={i}")
            for i in range(6)
        ]
    )
    (panel,) = panels(accuracy_by_scale(table, "title"))
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert [name.split()[0] for name in names] == [f"η={i}" for i in range(6)]
    assert panel.get_legend().get_bbox_to_anchor().x0 >= panel.bbox.x1


def test_heat_map_shows_every_mean_on_one_colour_scale() -> None:
    table = scale_table()
    figure = accuracy_map(table, "title")
    for panel, size in zip(panels(figure), (16, 64), strict=True):
        assert panel.get_title() == f"batch size {size}"
        (image,) = panel.get_images()
        expected = [[0.9 - f * s for s in SCALES] for f in (0.1, 0.01)]
        np.testing.assert_allclose(image.get_array(), expected)
        assert image.get_clim() == pytest.approx((0.65, 0.899))
        assert [t.get_text() for t in panel.get_yticklabels()] == ["SGD", "Adam"]
        assert [t.get_text() for t in panel.get_xticklabels()] == ["0.1", "1", "2.5"]
    (bar,) = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert bar.get_ylabel() == "test accuracy at τ_best"


def test_heat_map_crosses_out_what_did_not_fit_its_labels() -> None:
    for panel in panels(accuracy_map(scale_table(), "title")):
        crosses = [(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.get_lines()]
        assert crosses == [(2, 0)]  # σw = 2.5 under SGD


def test_heat_map_leaves_a_missing_run_open_and_uncrossed() -> None:
    table = scale_table().query("not (batch_size == 16 and optimizer == 'sgd' and sigma_w > 1)")
    first = panels(accuracy_map(table, "title"))[0]
    assert np.isnan(first.get_images()[0].get_array().filled(np.nan)[0, 2])
    assert not first.get_lines()


def test_heat_map_of_a_single_value_has_a_colour_bar() -> None:
    figure = accuracy_map(scale_table().head(1), "title")
    low, high = panels(figure)[0].get_images()[0].get_clim()
    assert low < 0.89 < high


def test_plane_puts_memory_at_its_rate_and_batch_size() -> None:
    none = pd.DataFrame(columns=["facet", "batch_size", "clock", "rate", "low", "high"])
    (panel,) = panels(memory_plane(recipe_table(), none, "title"))
    np.testing.assert_allclose(panel.get_images()[0].get_array(), [[20, 24], [3, 20], [0, 1]])
    assert [t.get_text() for t in panel.get_xticklabels()] == ["16", "128"]
    assert [t.get_text() for t in panel.get_yticklabels()] == ["0.001", "0.01", "0.1"]
    texts = {text.get_position(): text.get_text() for text in panel.texts}
    assert texts[(1, 1)] == "20.0\n[18.0, 23.0]"
    assert not panel.get_lines()


def test_boundary_runs_through_the_plane_where_its_rates_are() -> None:
    rates = pd.DataFrame(
        {
            "facet": "sgd",
            "batch_size": [16, 128],
            "clock": "T_SGD",
            "rate": [1e-3, math.sqrt(1e-3)],
            "low": 1e-3,
            "high": 1e-1,
        }
    )
    (panel,) = panels(memory_plane(recipe_table(), rates, "title"))
    (line,) = panel.get_lines()
    # Rows are one decade apart: 10^-1.5 lies half-way from the second to the third.
    np.testing.assert_allclose(line.get_xdata(), [-0.5, 0, 1, 1.5])
    np.testing.assert_allclose(line.get_ydata(), [-0.75, 0, 1.5, 2.25])
    assert panel.get_ylim() == (-0.5, 2.5)
    assert panel.get_title() == "SGD\nboundary on T_SGD"


def test_without_a_second_rate_the_plane_has_a_row_per_family() -> None:
    table = recipe_table().query("learning_rate == 0.001").assign(family="momentum")
    none = pd.DataFrame(columns=["facet", "batch_size", "clock", "rate", "low", "high"])
    (panel,) = panels(memory_plane(table, none, "title"))
    assert [t.get_text() for t in panel.get_yticklabels()] == ["SGD + momentum"]


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


def test_collapse_draws_each_batch_size_on_both_axes_with_its_floor() -> None:
    betas = beta_table()
    (figure,) = collapse_pages(betas, collapse_table(), "title")
    above, below = panels(figure)
    for panel, axis in ((above, "epoch"), (below, "T_adapt")):
        lines = {line.get_label(): line for line in panel.get_lines()}
        for size in (16, 32, 64):
            rows = betas[betas["batch_size"] == size]
            curve, floor = lines[f"batch size {size}"], lines[f"noise floor, batch size {size}"]
            np.testing.assert_allclose(curve.get_xdata(), rows[axis])
            clear = rows["absolute"] >= 1e-3
            np.testing.assert_allclose(curve.get_ydata()[clear], rows["absolute"][clear])
            assert np.isnan(np.asarray(curve.get_ydata())[~clear]).all()
            np.testing.assert_allclose(floor.get_ydata(), 1e-3)
            assert curve.get_color() == floor.get_color()
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")


def test_collapse_number_stands_on_its_panel() -> None:
    (figure,) = collapse_pages(beta_table(), collapse_table(), "title")
    above, below = panels(figure)
    assert above.get_title() == "Adam\nS = 432 [400, 470], no better"
    assert below.get_title() == "S = 1.2 [0.8, 1.9], collapses"
    assert below.get_xlabel().startswith("T_adapt")


def test_no_collapse_number_is_made_up() -> None:
    none = collapse_table().head(0)
    assert collapse_number(none, 1) == "one batch size: no collapse to measure"
    refused = (
        collapse_table()
        .head(1)
        .assign(verdict="undetermined", reason="overlap 0.1 is below 0.5", quality=math.nan)
    )
    assert collapse_number(refused, 3) == "undetermined: overlap 0.1 is below 0.5"


def test_collapse_has_three_families_on_a_page() -> None:
    betas = pd.concat([beta_table().assign(family=f"η={i}") for i in range(4)])
    pages = collapse_pages(betas, collapse_table(), "title")
    assert [len(panels(page)) for page in pages] == [6, 2]


def test_ink_is_readable_on_its_ground() -> None:
    assert (style.ink_on(to_rgba("yellow")), style.ink_on(to_rgba("navy"))) == ("black", "white")


def test_small_batches_are_darker_than_large_ones() -> None:
    colours = style.batch_colours([256, 16, 64])
    brightness = [sum(colours[size][:3]) for size in (16, 64, 256)]
    assert brightness == sorted(brightness)
