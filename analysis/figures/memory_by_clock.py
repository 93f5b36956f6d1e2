"""Memory against the forgetting clocks at the end of training: the phase diagram."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.figures.boundary_sides import draw_boundary
from analysis.figures.direct_labels import Labels
from analysis.figures.shades import Shades
from analysis.figures.style import (
    CLOCK_LABELS,
    darker,
    log_ticks,
    optimizer_handles,
    optimizer_look,
)

DODGE = 0.035  # part of the panel's width between optimizers that stand at one clock value
ROOM = 0.14  # part of the panel's width left free at both sides
WIDEST_HEADING = 48  # letters of a line
HIGHEST = 1.6  # an interval that ends higher, in largest memories, is cut off
NAME_SIZE = 11
LEGEND_COLUMNS = {1: 2, 2: 3, 3: 5}  # by the number of panels
ELSEWHERE = "#B5B5B5"
RING = "#444444"
EDGE = 0.97  # of the axis: where a memory of failure stands that is above it


# --- the figure ---
def memory_by_clock(recipes: pd.DataFrame, boundaries: pd.DataFrame, title: str) -> Figure:
    """Memory of each recipe against each clock at the end of its training.

    Recipes which a clock governs are in their optimizer's colour, with their interval; they decide
    its boundary, and those that differ in batch size alone are joined by a line. The fuller the
    marker, the higher the learning rate, or λ where the rate does not vary. A ring says that some
    of a recipe's runs failed: they diverged, or learned next to nothing. Where half of them did at
    some σw, it may stand at the upper edge for a memory above all others. Recipes that another
    clock governs are grey dots. Optimizers at one clock value stand side by side. A clock on which
    all recipes stand still or together has no panel, nor has one that governs none of them.

    Parameters
    ----------
    recipes
        One row per recipe: family, optimizer, learning_rate, kernel_l2, T_SGD, T_L2, T_adapt,
        own_clock, memory, corrected, low, high (fractions; NaN where they cannot be had), diverged,
        untrained (numbers of runs), scales_failed.
    boundaries
        One row per clock: the fields of `boundary.Boundary`.
    title
        Above all panels.
    """
    recipes = recipes[recipes["memory"].notna()]
    clocks = shown_clocks(recipes)
    figure = Figure(figsize=(max(4.6 * len(clocks), 6.2), 5.2))
    panels = figure.subplots(1, len(clocks), sharey=True, squeeze=False)[0]
    shades = Shades.of(recipes)
    for panel, clock in zip(panels, clocks, strict=True):
        found = boundaries[boundaries["clock"] == clock].iloc[0]
        panel.set_ylim(*_limits(recipes))
        placed = _placed(panel, recipes[recipes[clock] > 0], clock)
        _points(panel, placed, clock, shades)
        draw_boundary(panel, found, placed.loc[placed["own_clock"] == clock, "y"])
        panel.set_title(_heading(found), fontsize=11)
        panel.set_xlabel(f"{CLOCK_LABELS[clock]}   at the end of training", fontsize=12)
    panels[0].set_ylabel("memory (pp of test accuracy)", fontsize=12)
    figure.suptitle(title, fontsize=13)
    # The legend names who has no label, and labels need the room that the legend leaves.
    _legend(figure, recipes, boundaries, shades, clocks, list(recipes["optimizer"]))
    figure.draw_without_rendering()
    figure.legends[0].remove()
    named = _name_points(panels, recipes, clocks)
    nameless = [name for name in recipes["optimizer"] if name not in named]
    _legend(figure, recipes, boundaries, shades, clocks, nameless)
    return figure


def shown_clocks(recipes: pd.DataFrame) -> list[str]:
    """The clocks that vary over the recipes and govern some of them; if none does, that govern."""
    govern = [clock for clock in CLOCK_LABELS if (recipes["own_clock"] == clock).any()]
    vary = [clock for clock in govern if _rounded(recipes.loc[recipes[clock] > 0, clock]) > 1]
    return vary or govern


def _rounded(values: pd.Series[float]) -> int:
    """How many values there are but for rounding."""
    return len({f"{value:.6g}" for value in values})


def _limits(recipes: pd.DataFrame) -> tuple[float, float]:
    """Of the vertical axis, in pp."""
    trained = recipes[recipes["scales_failed"] == 0]
    trained = trained if len(trained) else recipes
    largest = 100 * float(trained[["memory", "corrected"]].max().max())
    top = min(100 * float(trained[["memory", "high"]].max().max()), HIGHEST * largest)
    lowest = 100 * float(trained["corrected"].min())
    bottom = 0.0 if math.isnan(lowest) else min(0.0, lowest)
    span = max(top - bottom, 1.0) if math.isfinite(top) else 1.0
    return bottom - 0.04 * span, bottom + 1.12 * span


# --- points ---
def _placed(panel: Axes, recipes: pd.DataFrame, clock: str) -> pd.DataFrame:
    """The recipes with their places in a panel, set to hold those that its clock governs."""
    own = recipes.loc[recipes["own_clock"] == clock, clock]
    low, high = float(own.min()), float(own.max())
    width = max(math.log(high / low), 1.0)
    middle = math.sqrt(low * high)
    half = math.exp((0.5 + ROOM) * width)
    panel.set_xscale("log")
    panel.set_xlim(middle / half, middle * half)
    log_ticks(panel.xaxis, middle / half, middle * half)
    y = 100 * recipes["corrected"].fillna(recipes["memory"])
    y = y.where(recipes["scales_failed"] == 0, y.clip(upper=EDGE * panel.get_ylim()[1]))
    return recipes.assign(
        place=_side_by_side(recipes, clock, DODGE * width),
        y=y,
        # A limit raised to 0 may lie above a negative estimate.
        below=(y - 100 * recipes["low"].fillna(recipes["memory"])).clip(lower=0),
        above=(100 * recipes["high"].fillna(recipes["memory"]) - y).clip(lower=0),
    )


def _points(panel: Axes, placed: pd.DataFrame, clock: str, shades: Shades) -> None:
    own = placed["own_clock"] == clock
    rest = placed[~own]
    if len(rest):
        panel.plot(
            rest[clock], rest["y"], "o", color=ELSEWHERE, markersize=4, zorder=2, label="elsewhere"
        )
    ringed = placed[own & _failed(placed)]
    if len(ringed):
        panel.scatter(
            ringed["place"], ringed["y"], s=170, facecolors="none", edgecolors=RING, label="failed"
        )
    for _, rows in placed[own].groupby("family", sort=False):
        rows = rows.sort_values(clock)
        look = optimizer_look(str(rows["optimizer"].iloc[0]))
        panel.plot(rows["place"], rows["y"], color=look.colour, linewidth=1.2, alpha=0.45, zorder=2)
    for optimizer, rows in placed[own].groupby("optimizer", sort=False):
        look = optimizer_look(str(optimizer))
        panel.errorbar(
            rows["place"],
            rows["y"],
            yerr=rows[["below", "above"]].to_numpy().T,
            fmt="none",
            ecolor=look.colour,
            elinewidth=1.3,
            capsize=2.5,
            zorder=3,
            label=look.name,
        )
        setting = rows[shades.setting or "learning_rate"]
        panel.scatter(
            rows["place"],
            rows["y"],
            s=58,
            marker=look.marker,
            c=[shades.fill(look.colour, float(value)) for value in setting],
            edgecolors=look.colour,
            linewidths=1.4,
            zorder=4,
            label=look.name,
        )


def _failed(recipes: pd.DataFrame) -> pd.Series[bool]:
    return recipes[["diverged", "untrained"]].sum(axis=1) > 0


def _side_by_side(recipes: pd.DataFrame, clock: str, step: float) -> pd.Series[float]:
    """Where points stand: optimizers that a clock governs, at one value, beside one another."""
    order = {name: i for i, name in enumerate(dict.fromkeys(recipes["optimizer"]))}
    place = recipes[clock].copy()
    own = recipes[recipes["own_clock"] == clock]
    rounded = own[clock].map(lambda value: f"{value:.6g}")
    for _, rows in own.groupby(rounded):
        here = sorted(rows["optimizer"].unique(), key=lambda name: order[name])
        offset = rows["optimizer"].map(
            {name: i - (len(here) - 1) / 2 for i, name in enumerate(here)}
        )
        place[rows.index] = rows[clock] * np.exp(step * offset)
    return place


# --- the boundary in words ---
def _heading(found: pd.Series[Any]) -> str:
    if math.isfinite(found["value"]):
        return (
            f"boundary {found['value']:.2g} [{found['low']:.2g}, {_end(found['high'])}]\n"
            f"{found['recipes']} recipes decide, {found['misplaced']} on the wrong side"
        )
    head, _, tail = str(found["reason"]).partition(": ")
    first, why = (head, tail) if tail else ("no boundary", head)
    return f"{first}:\n{textwrap.fill(why, WIDEST_HEADING)}"


def _end(high: float) -> str:
    return f"{high:.2g}" if math.isfinite(high) else "∞"


# --- names and legend ---
def _name_points(panels: Sequence[Axes], recipes: pd.DataFrame, clocks: Sequence[str]) -> set[str]:
    """Write each optimizer's name beside its points, in every panel; those with room in all."""
    wanted: dict[str, list[bool]] = {}
    for panel, clock in zip(panels, clocks, strict=True):
        placed = _placed(panel, recipes[recipes[clock] > 0], clock)
        labels = Labels(panel)
        _keep_free(labels, panel, placed, clock)
        own = placed[placed["own_clock"] == clock].sort_values("y", ascending=False)
        for optimizer, rows in own.groupby("optimizer", sort=False):
            look = optimizer_look(str(optimizer))
            where = rows["place"].to_numpy(), rows["y"].to_numpy()
            fits = labels.write(look.name, *where, darker(look.colour), NAME_SIZE)
            wanted.setdefault(str(optimizer), []).append(fits)
    return {name for name, fits in wanted.items() if all(fits)}


def _keep_free(labels: Labels, panel: Axes, placed: pd.DataFrame, clock: str) -> None:
    """Mark all that is drawn in a panel as taken."""
    labels.taken += [text.get_window_extent(labels.renderer) for text in panel.texts]
    own = placed[placed["own_clock"] == clock]
    x, y = own["place"].to_numpy(), own["y"].to_numpy()
    labels.avoid(x, y - own["below"].to_numpy(), y + own["above"].to_numpy(), 3)
    labels.avoid(x, y, y, 6)
    rest = placed[placed["own_clock"] != clock]
    labels.avoid(rest[clock].to_numpy(), rest["y"].to_numpy(), rest["y"].to_numpy(), 3)
    for line in panel.get_lines():
        x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
        if line.get_transform() == panel.transData and x.size > 1:
            # Straight in the panel, whose horizontal axis is logarithmic.
            along = np.linspace(0, x.size - 1, 25 * x.size)
            place = np.exp(np.interp(along, np.arange(x.size), np.log(x)))
            height = np.interp(along, np.arange(x.size), y)
            labels.avoid(place, height, height, 1.5)
        elif x.size == 2 and x[0] == x[1]:
            bottom, top = panel.get_ylim()
            labels.avoid(x[:1], np.array([bottom]), np.array([top]), 1.5)


def _legend(
    figure: Figure,
    recipes: pd.DataFrame,
    boundaries: pd.DataFrame,
    shades: Shades,
    clocks: Sequence[str],
    nameless: Sequence[str],
) -> None:
    handles: list[Any] = [*optimizer_handles(nameless), *shades.handles()]
    if any((recipes.loc[recipes[clock] > 0, "own_clock"] != clock).any() for clock in clocks):
        handles.append(
            Line2D([], [], color=ELSEWHERE, marker="o", linestyle="", label="another clock governs")
        )
    if _failed(recipes).any():
        ring = Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            color=RING,
            label="some runs failed (at the edge: higher)",
        )
        ring.set(markerfacecolor="none", markersize=12)
        handles.append(ring)
    if recipes["family"].duplicated().any():
        handles.append(Line2D([], [], color="#777777", label="differ in batch size alone"))
    if np.isfinite(boundaries["level"]).any():
        level = 100 * boundaries["level"].iloc[0]
        label = f"half of the largest memory ({level:.1f} pp)"
        handles.append(Line2D([], [], color="#666666", linestyle=":", label=label))
    if np.isfinite(boundaries.loc[boundaries["clock"].isin(clocks), "value"]).any():
        handles.append(Patch(color="#555555", alpha=0.3, label="boundary, 95 % interval"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), LEGEND_COLUMNS[len(clocks)]),
        fontsize=10.5,
    )
