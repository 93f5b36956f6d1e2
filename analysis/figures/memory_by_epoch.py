"""Memory during training: above against epochs, below on the clock that governs the recipe."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.clock_pages import by_batch_size, clock_pages, name_of
from analysis.figures.style import Look, recipe_name


def memory_by_epoch_pages(table: pd.DataFrame, title: str) -> list[Figure]:
    """Memory of validation accuracy in the course of training, a line per batch size.

    Bands are 95 % intervals; the line is the corrected memory, which is 0 on average without any.

    Parameters
    ----------
    table
        One row per recipe and epoch: family, batch_size, own_clock, epoch, T_SGD, T_L2, T_adapt,
        corrected, low, high (fractions; low and high NaN for one seed).
    title
        Above all panels.

    Returns
    -------
    list of Figure
        One per three families.
    """
    label = "memory (pp of validation accuracy)"
    return clock_pages(table, _draw, title=title, label=label)


def _draw(panel: Axes, curves: pd.DataFrame, axis: str, looks: Mapping[int, Look]) -> str:
    panel.axhline(0, color="#888888", linewidth=0.8)
    for size, look, rows in by_batch_size(curves, axis, looks):
        low, high = 100 * rows["low"], 100 * rows["high"]
        panel.fill_between(rows[axis], low, high, color=look.colour, alpha=0.13, linewidth=0)
        panel.plot(
            rows[axis],
            100 * rows["corrected"],
            color=look.colour,
            linestyle=look.dashes,
            linewidth=1.9,
            marker="o" if len(rows) == 1 else "",
            label=name_of(size),
        )
    return recipe_name(str(curves["family"].iloc[0])) if axis == "epoch" else ""
