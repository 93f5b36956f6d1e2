from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_frames import LOOKS, SCALES, accuracy, by_label
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.scale_panels import (
    ScalePanel,
    batch_looks,
    legend_columns,
    optimizer_looks,
    scale_grid,
    variant_looks,
)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def one_panel(table: pd.DataFrame, unit: Any = "fraction") -> Figure:
    return scale_grid([[ScalePanel("batch size 16", "label", table, unit)]], LOOKS, "title")


def test_lines_are_means_and_bands_are_percentiles() -> None:
    figure = one_panel(accuracy(SGD=(0.9, 0.8, 0.6), Adam=(0.85, 0.85, 0.84)))
    (panel,) = figure.axes
    lines = by_label(panel)
    np.testing.assert_allclose(lines["SGD"].get_ydata(), (0.9, 0.8, 0.6))
    np.testing.assert_allclose(lines["SGD"].get_xdata(), SCALES)
    assert lines["Adam"].get_color() == "#0072B2"
    low, high = (
        getattr(panel.collections[0].get_datalim(panel.transData), e) for e in ("y0", "y1")
    )
    assert (low, high) == (pytest.approx(0.59), pytest.approx(0.92))
    assert legend(figure) == ["SGD", "Adam"]
    assert panel.get_xlabel() == "initialization scale σw"


def test_points_are_shown_in_pp_with_a_line_at_zero() -> None:
    (panel,) = one_panel(accuracy(SGD=(0.01, 0.0, -0.02)), "pp").axes
    np.testing.assert_allclose(by_label(panel)["SGD"].get_ydata(), (1.0, 0.0, -2.0))
    assert any(set(line.get_ydata()) == {0} for line in panel.get_lines())
    formatter = panel.yaxis.get_major_formatter()
    assert [formatter(value) for value in (0.0, 2.0, -1.5)] == ["0", "+2", "-1.5"]


def test_what_is_never_reached_stands_at_the_top_and_in_the_legend() -> None:
    figure = one_panel(accuracy(SGD=(10.0, 20.0, math.inf)), "epoch")
    (panel,) = figure.axes
    lines = by_label(panel)
    np.testing.assert_allclose(lines["SGD"].get_ydata(), (10, 20, math.nan))
    assert list(lines["SGD, never"].get_xdata()) == [2.5]
    assert lines["SGD, never"].get_marker() == "^"
    assert panel.get_yscale() == "log"
    assert legend(figure)[-1] == "half of the runs or more never reach it"


def test_a_reference_is_dashed_and_named() -> None:
    initial = pd.DataFrame({"sigma_w": SCALES, "mean": (1.0, 10.0, 25.0)})
    panel = ScalePanel("b", "norm", accuracy(SGD=(5.0, 10.0, 20.0)), "norm", initial)
    figure = scale_grid([[panel]], LOOKS, "title", reference="initial kernel norm")
    dashed = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0].get_ydata(), (1, 10, 25))
    assert legend(figure)[-1] == "initial kernel norm"


def test_only_the_last_row_names_the_horizontal_axis() -> None:
    table = accuracy(SGD=(0.9, 0.8, 0.6))
    panel = ScalePanel("heading", "label", table, "fraction")
    figure = scale_grid([[panel, panel], [panel]], LOOKS, "title")
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert labels == ["", "", "initialization scale σw"]
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]


def test_recipes_of_one_optimizer_keep_its_colour_and_differ_in_dashes() -> None:
    looks = optimizer_looks({"SGD": "sgd", "SGD, λ=0.01": "sgd", "Adam": "adam"})
    assert {looks["SGD"].colour, looks["SGD, λ=0.01"].colour} == {
        style.optimizer_look("sgd").colour
    }
    assert looks["SGD"].dashes != looks["SGD, λ=0.01"].dashes
    assert looks["Adam"].colour == style.optimizer_look("adam").colour


def test_variants_have_colours_of_no_optimizer_and_the_baseline_is_grey_and_last() -> None:
    looks = variant_looks(["ResNet-9", "ResNet-56", "R9-AvgPool"], "ResNet-9")
    assert list(looks) == ["ResNet-56", "R9-AvgPool", "ResNet-9"]
    assert not {look.colour for look in looks.values()} & {
        look.colour for look in style.OPTIMIZERS.values()
    }
    assert looks["ResNet-9"].dashes != "-"
    assert len({look.colour for look in looks.values()}) == 3


def test_batch_sizes_run_from_dark_to_light() -> None:
    brightness = [sum(look.colour[:3]) for look in batch_looks([16, 64, 256]).values()]
    assert brightness == sorted(brightness)


def test_a_legend_has_as_many_columns_as_fit_its_width() -> None:
    short = ["SGD", "Adam", "Muon"]
    assert legend_columns(short, 7.0) == 3
    assert legend_columns(["SGD + momentum η=0.001 λ=0.001"] * 6, 7.0) == 2
    assert legend_columns(["a very long name " * 10], 3.0) == 1
