from __future__ import annotations

import math

import numpy as np
import pandas as pd
from figure_frames import accuracy, by_label
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.figures.ablation import rate_looks, spread_figure
from analysis.figures.style import Look


def spreads() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "batch_size": 16,
            "line": ["η=0.001, λ=0", "η=0.01, λ=0.01", "long"],
            "memory": [0.228, 0.003, 0.25],
            "low": [0.21, 0.0, math.nan],
            "high": [0.24, 0.008, math.nan],
        }
    )


def ablation() -> Figure:
    lines = pd.concat(
        [
            accuracy(**{name: (0.9, 0.9 - s / 2, 0.9 - s)}).assign(batch_size=16)
            for name, s in zip(spreads()["line"], spreads()["memory"], strict=True)
        ]
    )
    looks = rate_looks(
        {"η=0.001, λ=0": (1e-3, 0.0), "η=0.01, λ=0.01": (1e-2, 1e-2)}, {1e-3, 1e-2}, {0.0, 1e-2}
    ) | {"long": Look("black", "X")}
    return spread_figure(lines, spreads(), looks, "title")


def test_spreads_ascend_with_their_interval_and_number() -> None:
    left, right = ablation().axes
    assert [t.get_text() for t in right.get_yticklabels()] == [
        "η=0.01, λ=0.01",
        "η=0.001, λ=0",
        "long",
    ]
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], [0.3, 22.8, 25.0])
    numbers = [text.get_text() for text in right.texts]
    assert numbers == ["0.3 [0.0, 0.8]", "22.8 [21.0, 24.0]", "25.0"]
    ends = [segment[:, 0].tolist() for segment in right.collections[0].get_segments()[:2]]
    np.testing.assert_allclose(ends, [[0, 0.8], [21, 24]])
    assert right.get_ylim()[0] > right.get_ylim()[1]  # the smallest on top
    assert set(by_label(left)) == set(spreads()["line"])


def test_a_bar_has_the_colour_and_marker_of_its_curve() -> None:
    left, right = ablation().axes
    curve = by_label(left)["η=0.001, λ=0"]
    bar, marker = right.patches[1], right.get_lines()[1]
    assert to_hex(bar.get_facecolor()) == to_hex(curve.get_color())
    assert marker.get_marker() == curve.get_marker()


def test_colour_tells_the_rate_and_dashes_tell_the_decay() -> None:
    names = {"a": (1e-3, 0.0), "b": (1e-3, 1e-2), "c": (1e-2, 0.0)}
    looks = rate_looks(names, {1e-3, 1e-2}, {0.0, 1e-2})
    assert looks["a"].colour == looks["b"].colour != looks["c"].colour
    assert looks["a"].dashes == looks["c"].dashes != looks["b"].dashes
