from __future__ import annotations

import numpy as np
import pytest
from figure_frames import SCALES, panels, scale_table
from matplotlib.figure import Figure

from analysis.figures.accuracy_map import accuracy_map


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


def test_heat_map_marks_where_runs_failed() -> None:
    assert "▽" not in words(accuracy_map(scale_table(), "title"))
    table = scale_table()
    adam = (table["optimizer"] == "adam") & (table["batch_size"] == 64)
    table.loc[adam & (table["sigma_w"] == 2.5), "diverged"] = 1
    table.loc[adam & (table["sigma_w"] == 0.1), "untrained"] = 2
    figure = accuracy_map(table, "title")
    marks = [
        [
            round(float(line.get_xdata()[0]))
            for line in panel.get_lines()
            if line.get_marker() == "v"
        ]
        for panel in panels(figure)
    ]
    assert marks == [[], [0, 2]]
    assert "▽ some runs diverged or learned next to nothing" in words(figure)
    # With this mark the line is longer than the picture is wide.
    assert max(map(len, figure.get_suptitle().splitlines())) < 80


def words(figure: Figure) -> str:
    return str(figure.get_suptitle())


def test_heat_map_of_a_single_value_has_a_colour_bar() -> None:
    figure = accuracy_map(scale_table().head(1), "title")
    low, high = panels(figure)[0].get_images()[0].get_clim()
    assert low < 0.89 < high


def test_the_colour_bar_says_the_values_of_its_ticks() -> None:
    table = scale_table()
    steps = np.linspace(0.77, 0.97, len(table))
    figure = accuracy_map(table.assign(mean=steps), "title")
    figure.draw_without_rendering()
    bar = figure.axes[-1]
    low, high = bar.get_ylim()
    labels = zip(bar.get_yticks(), bar.get_yticklabels(), strict=True)
    said = [(value, text.get_text()) for value, text in labels if low <= value <= high]
    assert len(said) >= 3
    for value, text in said:
        assert float(text.removesuffix("%")) == pytest.approx(100 * value)
