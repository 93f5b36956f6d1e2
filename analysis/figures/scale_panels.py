"""Panels of what runs did against σw, or another perturbed setting, with percentiles as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter
from numpy.typing import NDArray

from analysis.figures.perturbed_axis import PerturbedAxis
from analysis.figures.style import DASHES, MARKERS, Look, batch_colours, log_ticks, optimizer_look
from suite.declarations.perturbation import SIGMA_W, Perturbation

PANEL_WIDTH, PANEL_HEIGHT = 4.3, 3.3  # inches
LETTERS_OF_A_HEADING = 30
LETTERS_PER_INCH, LETTERS_OF_A_HANDLE = 12.5, 7
FEW_COLUMNS, NARROW = 3, 0.66
# Tol's muted scheme, told apart from the optimizers' colours and from one another.
VARIANT_COLOURS = ("#332288", "#999933", "#882255", "#44AA99", "#AA4499", "#661100")
BASELINE = "#777777"
Unit = Literal["fraction", "pp", "epoch", "norm"]


# --- the figure ---
@dataclass(frozen=True)
class ScalePanel:
    """One panel.

    Attributes
    ----------
    heading, label
        Above the panel, and of its vertical axis.
    table
        One row per line and σw: line, sigma_w (or the setting that is perturbed in its place),
        mean, p10, p90; inf is an epoch never reached.
    unit
        'fraction' is shown in %, 'pp' a fraction in points, 'epoch' and 'norm' on a log axis.
    reference
        sigma_w and mean of a dashed line; None for none.
    """

    heading: str
    label: str
    table: pd.DataFrame
    unit: Unit
    reference: pd.DataFrame | None = None


def scale_grid(
    panels: Sequence[Sequence[ScalePanel]],
    looks: Mapping[str, Look],
    title: str,
    *,
    share: Literal["row", "col", "all"] = "row",
    reference: str = "",
    perturbation: Perturbation = SIGMA_W,
) -> Figure:
    """Rows of panels against σw, with one legend.

    Parameters
    ----------
    panels
        Row by row.
    looks
        Name of a line to its look, in the legend's order.
    title
        Above all.
    share
        Panels of a row, of a column, or all of them have the same vertical axis.
    reference
        What the dashed line is, for the legend.
    perturbation
        The setting along the horizontal axes.
    """
    drawn = [panel for row in panels for panel in row]
    axis = PerturbedAxis.of(perturbation, [panel.table for panel in drawn])
    rows, columns = len(panels), max(len(row) for row in panels)
    narrow = NARROW if columns > FEW_COLUMNS else 1.0
    width = max(narrow * PANEL_WIDTH * columns + 0.4, 7.4)
    figure = Figure(figsize=(width, PANEL_HEIGHT * rows + 1.25))
    axes = figure.subplots(rows, columns, sharex=True, sharey=share, squeeze=False)
    for i, row in enumerate(panels):
        for j, panel in enumerate(row):
            _draw(axes[i, j], panel, looks, axis)
            axis.label(axes[i, j], named=i == rows - 1)
            if j == 0 or share == "col":
                axes[i, j].set_ylabel(panel.label)
        for spare in axes[i, len(row) :]:
            spare.set_visible(False)
    handles = _handles(drawn, looks, reference)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=legend_columns([str(handle.get_label()) for handle in handles], width),
        fontsize=10,
    )
    figure.suptitle(title, fontsize=12)
    return figure


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of these labels, in letters of 10 points, fit into a width in inches."""
    widest = max(len(label) for label in labels) + LETTERS_OF_A_HANDLE
    return max(1, min(len(labels), int(width * LETTERS_PER_INCH / widest)))


# --- looks of lines ---
def optimizer_looks(optimizers: Mapping[str, str]) -> dict[str, Look]:
    """The looks of recipes, each by its optimizer; further ones of an optimizer are dashed."""
    seen: dict[str, int] = {}
    looks = {}
    for line, optimizer in optimizers.items():
        number = seen.get(optimizer, 0)
        seen[optimizer] = number + 1
        looks[line] = Look(
            optimizer_look(optimizer).colour,
            optimizer_look(optimizer).marker,
            DASHES[number % len(DASHES)],
        )
    return looks


def batch_looks(sizes: Sequence[int]) -> dict[str, Look]:
    """The looks of batch sizes, from dark to light."""
    return {
        f"b = {size}": Look(colour, MARKERS[i % len(MARKERS)])
        for i, (size, colour) in enumerate(batch_colours(sizes).items())
    }


def variant_looks(variants: Sequence[str], baseline: str = "") -> dict[str, Look]:
    """The looks of other settings; a baseline is grey and dashed."""
    looks = {}
    for i, name in enumerate(one for one in variants if one != baseline):
        looks[name] = Look(VARIANT_COLOURS[i % len(VARIANT_COLOURS)], MARKERS[i % len(MARKERS)])
    if baseline in variants:
        looks[baseline] = Look(BASELINE, "X", (0, (5, 2)))
    return looks


def optimizer_name(optimizer: str) -> str:
    """As it is written in prose."""
    return optimizer_look(optimizer).name


# --- one panel ---
def _draw(panel: Axes, content: ScalePanel, looks: Mapping[str, Look], axis: PerturbedAxis) -> None:
    if content.unit in ("epoch", "norm"):
        panel.set_yscale("log")
    for name, look in looks.items():
        rows = axis.sorted(content.table[content.table["line"] == name])
        if not rows.empty:
            _line(
                panel, axis.places(rows), rows, look, name, 100.0 if content.unit == "pp" else 1.0
            )
    if content.reference is not None:
        there = axis.sorted(content.reference)
        panel.plot(axis.places(there), there["mean"], "--", color="black", linewidth=1.3, zorder=4)
    if content.unit == "pp":
        panel.axhline(0, color="#444444", linewidth=0.9, zorder=1)
    panel.set_title(fill(content.heading, LETTERS_OF_A_HEADING), fontsize=11)
    _units(panel, content)


def _line(
    panel: Axes,
    places: NDArray[np.float64],
    rows: pd.DataFrame,
    look: Look,
    name: str,
    factor: float,
) -> None:
    values = factor * rows[["mean", "p10", "p90"]].to_numpy(dtype=np.float64)
    never = np.isposinf(values[:, 0])
    shown = np.where(np.isfinite(values), values, np.nan)
    # A percentile at infinity ends the band at the top of what is finite.
    top = np.where(np.isposinf(values[:, 2]), np.nanmax(shown, initial=1.0), shown[:, 2])
    panel.plot(
        places,
        shown[:, 0],
        color=look.colour,
        marker=look.marker,
        markersize=4.5 if places.size < 12 else 3,
        linestyle=look.dashes,
        linewidth=1.6,
        label=name,
    )
    panel.fill_between(
        places,
        shown[:, 1],
        np.where(never, np.nan, top),
        color=look.colour,
        alpha=0.16,
        linewidth=0,
    )
    if never.any():
        panel.plot(
            places[never],
            np.full(never.sum(), 0.96),
            linestyle="",
            marker="^",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=look.colour,
            transform=panel.get_xaxis_transform(),
            label=f"{name}, never",
            clip_on=False,
        )


def _units(panel: Axes, content: ScalePanel) -> None:
    if content.unit == "fraction":
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif content.unit == "pp":
        panel.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0")
        )
    else:
        low, high = panel.get_ylim()
        log_ticks(panel.yaxis, low, high)


# --- legend ---
def _handles(
    panels: Sequence[ScalePanel], looks: Mapping[str, Look], reference: str
) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes, label=name)
        for name, look in looks.items()
    ]
    if reference:
        handles.append(Line2D([], [], color="black", linestyle="--", label=reference))
    if any(np.isposinf(panel.table["mean"]).any() for panel in panels):
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="^",
                color="#444444",
                markerfacecolor="none",
                label="half of the runs or more never reach it",
            )
        )
    return handles
