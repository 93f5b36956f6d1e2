from __future__ import annotations

import math

import numpy as np
import pandas as pd
from figure_frames import panels, recipe_table

from analysis.figures.memory_plane import memory_plane


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
