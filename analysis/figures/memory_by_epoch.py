"""Memory during training: above against epochs, below on the clock that governs the recipe."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import CLOCK_LABELS, DASHES, batch_colours, log_ticks, recipe_name

MOST_WIDE = 3  # families on one page
LEAST_WIDTH = 7.4  # inches; the title and the legend take it


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
    families = list(dict.fromkeys(table["family"]))
    pages = [families[i : i + MOST_WIDE] for i in range(0, len(families), MOST_WIDE)]
    colours = batch_colours([int(size) for size in table["batch_size"].unique()])
    return [_page(table, names, colours, title) for names in pages]


def _page(
    table: pd.DataFrame,
    families: list[str],
    colours: dict[int, tuple[float, float, float, float]],
    title: str,
) -> Figure:
    figure = Figure(figsize=(max(4.9 * len(families) + 0.4, LEAST_WIDTH), 7.6))
    panels = figure.subplots(2, len(families), sharey=True, squeeze=False)
    for column, family in zip(panels.T, families, strict=True):
        curves = table[table["family"] == family]
        for panel, axis in zip(column, ("epoch", str(curves["own_clock"].iloc[0])), strict=True):
            _curves(panel, curves, axis, colours)
            panel.set_xlabel("epoch" if axis == "epoch" else CLOCK_LABELS[axis])
        column[0].set_title(recipe_name(family), fontsize=11)
    for row in panels:
        row[0].set_ylabel("memory (pp of validation accuracy)")
    handles = [
        Line2D([], [], color=colour, linestyle=DASHES[i % len(DASHES)], label=f"batch size {size}")
        for i, (size, colour) in enumerate(colours.items())
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 2 * len(families)),
        fontsize=10,
    )
    figure.suptitle(title, fontsize=12)
    return figure


def _curves(
    panel: Axes,
    table: pd.DataFrame,
    axis: str,
    colours: dict[int, tuple[float, float, float, float]],
) -> None:
    panel.set_xscale("log")
    panel.axhline(0, color="#888888", linewidth=0.8)
    for i, (size, colour) in enumerate(colours.items()):
        rows = table[(table["batch_size"] == size) & (table[axis] > 0)].sort_values("epoch")
        if rows.empty:
            continue
        low, high = 100 * rows["low"], 100 * rows["high"]
        panel.fill_between(rows[axis], low, high, color=colour, alpha=0.13, linewidth=0)
        panel.plot(
            rows[axis],
            100 * rows["corrected"],
            color=colour,
            linestyle=DASHES[i % len(DASHES)],
            linewidth=1.9,
            marker="o" if len(rows) == 1 else "",
            label=f"batch size {size}",
        )
    log_ticks(panel.xaxis, float(table[axis].min()), float(table[axis].max()))
