"""Pages of curves, a column for each family: above against epochs, below on the own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import CLOCK_LABELS, DASHES, Look, batch_colours, log_ticks

MOST_WIDE = 3  # families on one page
LEAST_WIDTH = 7.4  # inches; the title and the legend take it

# Draws the curves of a family on an axis, and gives what stands above the panel.
Panel = Callable[[Axes, pd.DataFrame, str, Mapping[int, Look]], str]


def clock_pages(
    table: pd.DataFrame,
    draw: Panel,
    *,
    title: str,
    label: str,
    limits: Callable[[pd.DataFrame], tuple[float, float]] | None = None,
    more: Sequence[Line2D] = (),
) -> list[Figure]:
    """Two panels a family, three families a page, a line per batch size.

    Parameters
    ----------
    table
        One row per recipe and epoch: family, batch_size, own_clock, epoch, T_SGD, T_L2, T_adapt,
        and what `draw` needs.
    draw
        One panel.
    title
        Above all panels.
    label
        Of the vertical axis, which all panels of a page share.
    limits
        From the rows of a page to the ends of that axis; by itself if None.
    more
        In the legend, behind the batch sizes.
    """
    families = list(dict.fromkeys(table["family"]))
    colours = batch_colours([int(size) for size in table["batch_size"].unique()])
    looks = {
        size: Look(colour, "", DASHES[i % len(DASHES)])
        for i, (size, colour) in enumerate(colours.items())
    }
    pages = []
    for i in range(0, len(families), MOST_WIDE):
        names = families[i : i + MOST_WIDE]
        figure = Figure(figsize=(max(4.9 * len(names) + 0.4, LEAST_WIDTH), 7.6))
        panels = figure.subplots(2, len(names), sharey=True, squeeze=False)
        for column, family in zip(panels.T, names, strict=True):
            _column(column, table[table["family"] == family], draw, looks)
        if limits is not None:
            panels[0, 0].set_ylim(*limits(table[table["family"].isin(names)]))
        for row in panels:
            row[0].set_ylabel(label)
        handles = [*_handles(looks), *more]
        columns = min(len(handles), 2 * len(names))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=10)
        figure.suptitle(title, fontsize=12)
        pages.append(figure)
    return pages


def by_batch_size(
    table: pd.DataFrame, axis: str, looks: Mapping[int, Look]
) -> Iterator[tuple[int, Look, pd.DataFrame]]:
    """Each batch size that has rows where its axis is above 0, its look, and these by epoch."""
    for size, look in looks.items():
        rows = table[(table["batch_size"] == size) & (table[axis] > 0)].sort_values("epoch")
        if not rows.empty:
            yield size, look, rows


def name_of(batch_size: int) -> str:
    """What a line is called in the legend."""
    return f"batch size {batch_size}"


def _column(
    column: Sequence[Axes], curves: pd.DataFrame, draw: Panel, looks: Mapping[int, Look]
) -> None:
    for panel, axis in zip(column, ("epoch", str(curves["own_clock"].iloc[0])), strict=True):
        panel.set_xscale("log")
        panel.set_title(draw(panel, curves, axis, looks), fontsize=11)
        panel.set_xlabel("epoch" if axis == "epoch" else CLOCK_LABELS[axis])
        log_ticks(panel.xaxis, float(curves[axis].min()), float(curves[axis].max()))


def _handles(looks: Mapping[int, Look]) -> list[Line2D]:
    return [
        Line2D([], [], color=look.colour, linestyle=look.dashes, linewidth=2, label=name_of(size))
        for size, look in looks.items()
    ]
