"""The maps of layers: what is where, in which colour, and what is marked."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pandas as pd
from figure_frames import panels

from analysis.figures import style
from analysis.figures.layers import layer_maps, layer_order

EPOCHS = (0, 1, 2, 4, 8, 16)
PACE = 0.25  # of the clock, by epoch
NAMES = ("stem.weight", "head.weight")


def curves(recipes: int = 1) -> pd.DataFrame:
    rows = [
        {"recipe": f"sgd b{r}", "sigma_w": scale, "epoch": epoch, "layer": name, "depth": depth}
        | {"axis": "T_SGD", "time": PACE * epoch}
        | {"cosine": math.exp(-epoch * (1 + depth) / (4 * scale))}
        for r in range(recipes)
        for scale in (1.0, 2.0)
        for epoch in EPOCHS
        for depth, name in enumerate(NAMES)
    ]
    return pd.DataFrame(rows)


def forgotten(recipes: int = 1) -> pd.DataFrame:
    found = {
        (1.0, 0): (2.8, "crossed", 2.0),
        (1.0, 1): (math.nan, "immediate", 1.0),
        (2.0, 0): (math.nan, "never", math.nan),
        (2.0, 1): (2.8, "crossed", 1.0),
    }
    rows = [
        {"recipe": f"sgd b{r}", "sigma_w": scale, "layer": NAMES[depth], "depth": depth}
        | {"time": PACE * epoch, "status": status, "order": order}
        | {"at_best": math.nan if (scale, depth) == (1.0, 1) else 0.4 + depth / 2}
        for r in range(recipes)
        for (scale, depth), (epoch, status, order) in found.items()
    ]
    return pd.DataFrame(rows)


def test_a_panel_has_the_cosines_by_layer_and_clock_the_input_below() -> None:
    (page,) = layer_maps(curves(), forgotten(), "title")
    for panel, scale in zip(panels(page), (1.0, 2.0), strict=False):
        (mesh,) = panel.collections
        expected = [[math.exp(-e * d / (4 * scale)) for e in EPOCHS[1:]] for d in (1, 2)]
        np.testing.assert_allclose(mesh.get_array(), expected)
        assert panel.get_xscale() == "log"
        assert panel.get_title() == f"SGD b0, σw = {scale:g}"
        edges = mesh.get_coordinates()[0, :, 0]
        np.testing.assert_allclose(edges, [PACE * 2 ** (n - 0.5) for n in range(6)])
        assert panel.get_xlabel().startswith("T_SGD")
        (above,) = panel.child_axes
        np.testing.assert_allclose(above.get_xticks(), [PACE, PACE * 10])
        assert [label.get_text() for label in above.get_xticklabels()] == ["1", "10"]
    first = panels(page)[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["stem", "head"]
    assert first.get_ylim()[0] < first.get_ylim()[1]


def test_a_dot_is_where_a_layer_is_forgotten_and_an_arrow_where_that_was_at_once() -> None:
    (page,) = layer_maps(curves(), forgotten(), "title")
    one, two = panels(page)[:2]
    marks = [
        {line.get_marker(): line.get_xydata().tolist() for line in p.lines} for p in (one, two)
    ]
    np.testing.assert_allclose(marks[0]["o"], [[PACE * 2.8, 0]])
    np.testing.assert_allclose(marks[1]["o"], [[PACE * 2.8, 1]])
    np.testing.assert_allclose(marks[0]["<"], [[PACE * 2**-0.5, 1]])
    assert "<" not in marks[1]


def test_four_recipes_share_a_page_and_a_run_of_one_epoch_is_drawn() -> None:
    assert len(layer_maps(curves(4), forgotten(4), "title")) == 1
    assert len(layer_maps(curves(5), forgotten(5), "title")) == 2
    (page,) = layer_maps(curves().query("epoch <= 1"), forgotten(), "title")
    assert panels(page)[0].collections[0].get_array().shape == (2, 1)


def test_the_order_shows_what_the_returned_model_keeps_and_stars_the_first() -> None:
    figure = layer_order(forgotten(2), "title")
    one, two = panels(figure)[:2]
    assert one.images[0].get_array().mask.tolist() == [[False, True]] * 2
    np.testing.assert_allclose(two.images[0].get_array(), [[0.4, 0.9]] * 2)
    for panel in (one, two):
        assert [line.get_xydata().tolist() for line in panel.lines] == [[[1, 0]], [[1, 1]]]
        assert all(line.get_markerfacecolor() == line.get_color() for line in panel.lines)
    assert [label.get_text() for label in one.get_xticklabels()] == ["stem", "head"]
    assert [label.get_text() for label in one.get_yticklabels()] == ["SGD b0", "SGD b1"]


def test_the_stars_of_a_deep_network_stay_apart_on_a_page_of_a_readers_width() -> None:
    deep = pd.concat(
        forgotten().assign(depth=depth, layer=f"stage{depth}.weight", order=1.0, at_best=0.2)
        for depth in range(110)
    ).drop_duplicates(["recipe", "sigma_w", "depth"])
    figure = layer_order(deep, "title")
    assert figure.get_figwidth() < 18
    figure.savefig(BytesIO())
    panel = panels(figure)[0]
    stars = sorted(panel.transData.transform((line.get_xdata()[0], 0))[0] for line in panel.lines)
    star = panel.lines[0].get_markersize() * figure.dpi / 72
    assert len(stars) == 110
    assert min(np.diff(stars)) > star
    alone = deep.assign(order=deep["order"].where(deep["depth"] == 7))
    (line,) = panels(layer_order(alone, "title"))[0].lines
    assert line.get_markersize() > 2 * panel.lines[0].get_markersize()


def test_where_no_layer_is_forgotten_a_hollow_star_is_where_least_is_left() -> None:
    never = forgotten().assign(time=math.nan, status="never", order=math.nan)
    for panel in panels(layer_order(never, "title"))[:2]:
        (star,) = panel.lines
        assert star.get_xydata().tolist() == [[0, 0]]
        assert star.get_markerfacecolor() == "none"
    nothing = never.assign(at_best=math.nan)
    assert not panels(layer_order(nothing, "title"))[0].lines


def test_the_pictures_are_laid_out_without_a_complaint() -> None:
    style.apply()
    for figure in (*layer_maps(curves(3), forgotten(3), "title"), layer_order(forgotten(), "t")):
        figure.savefig(BytesIO())  # whatever matplotlib warns of is an error here
