from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.direct_labels import Labels

HALF = 4.0  # of a point, in points


def panel() -> Axes:
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    return axes


inside = st.floats(0, 1, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(inside, inside), min_size=1, max_size=30))
def test_a_name_covers_no_point_and_does_not_leave_the_panel(
    places: list[tuple[float, float]],
) -> None:
    axes = panel()
    x, y = np.array(places).T
    labels = Labels(axes)
    labels.avoid(x, y, y, HALF)
    if not labels.write("name", x, y, "black", 10):
        assert not axes.texts
        return
    (text,) = axes.texts
    box, frame = text.get_window_extent(), axes.get_window_extent()
    pixels = HALF * axes.figure.dpi / 72
    for left, bottom in axes.transData.transform(np.column_stack([x, y])):
        apart = left + pixels <= box.x0 or left - pixels >= box.x1
        assert apart or bottom + pixels <= box.y0 or bottom - pixels >= box.y1
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1
    assert frame.y0 <= box.y0 < box.y1 <= frame.y1


def test_a_lonely_point_is_named_and_a_second_name_keeps_its_distance() -> None:
    axes = panel()
    labels = Labels(axes)
    middle = np.array([0.5])
    assert labels.write("first", middle, middle, "black", 10)
    assert labels.write("second", middle, middle, "black", 10)
    first, second = (text.get_window_extent() for text in axes.texts)
    assert not first.overlaps(second)


def test_where_all_is_taken_no_name_is_written() -> None:
    axes = panel()
    labels = Labels(axes, [axes.get_window_extent()])
    assert not labels.write("name", np.array([0.5]), np.array([0.5]), "black", 10)
    assert not axes.texts
