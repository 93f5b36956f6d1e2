"""Memory against the three forgetting clocks at the end of training: the phase diagram."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.figures.style import (
    CLOCK_LABELS,
    FORGET_COLOUR,
    REMEMBER_COLOUR,
    hollow_handle,
    log_ticks,
    optimizer_handles,
    optimizer_look,
)

DODGE = 0.035  # part of the panel's width between optimizers that stand at one clock value
ROOM = 0.14  # part of the panel's width left free at both sides


# --- the figure ---
def memory_by_clock(recipes: pd.DataFrame, boundaries: pd.DataFrame, title: str) -> Figure:
    """Memory of each recipe against each clock at the end of its training.

    Filled points are the recipes which a clock governs; these decide its boundary. Hollow ones are
    governed by another clock. Recipes of several optimizers at one clock value stand side by side.
    A recipe on which a clock stands still (T_L2 with λ = 0) is not in that clock's panel.

    Parameters
    ----------
    recipes
        One row per recipe: optimizer, T_SGD, T_L2, T_adapt, own_clock, memory, corrected, low,
        high (fractions; NaN where they cannot be had).
    boundaries
        One row per clock: the fields of `phase_boundary.Boundary`.
    title
        Above all panels.
    """
    figure = Figure(figsize=(5.0 * len(CLOCK_LABELS), 5.6))
    panels = figure.subplots(1, len(CLOCK_LABELS), sharey=True)
    top = 100 * float(recipes[["memory", "high"]].max().max())
    bottom = min(0.0, 100 * float(recipes["corrected"].min()))
    span = max(top - bottom, 1.0) if math.isfinite(top) else 1.0
    bottom = 0.0 if math.isnan(bottom) else bottom
    for panel, clock in zip(panels, CLOCK_LABELS, strict=True):
        found = boundaries[boundaries["clock"] == clock].iloc[0]
        panel.set_ylim(bottom - 0.04 * span, bottom + 1.08 * span)
        _points(panel, recipes[recipes[clock] > 0], clock)
        _regions(panel, found)
        panel.set_title(_heading(found), fontsize=11)
        panel.set_xlabel(f"{CLOCK_LABELS[clock]}   at the end of training")
    panels[0].set_ylabel("memory (pp of test accuracy)")
    _legend(figure, recipes, boundaries)
    figure.suptitle(title, fontsize=12)
    return figure


# --- points ---
def _points(panel: Axes, recipes: pd.DataFrame, clock: str) -> None:
    if recipes.empty:
        panel.text(
            0.5,
            0.75,
            "λ = 0 in every recipe:\nthe clock stands still",
            transform=panel.transAxes,
            ha="center",
            va="center",
            color="#555555",
        )
        panel.set_xticks([0.5], [" "])  # as high as the others' numbers
        return
    panel.set_xscale("log")
    low, high = float(recipes[clock].min()), float(recipes[clock].max())
    width = max(math.log(high / low), 1.0)
    middle = math.sqrt(low * high)
    half = math.exp((0.5 + ROOM) * width)
    panel.set_xlim(middle / half, middle * half)
    log_ticks(panel.xaxis, middle / half, middle * half)
    places = _side_by_side(recipes, clock, DODGE * width)
    for optimizer, rows in recipes.assign(place=places).groupby("optimizer", sort=False):
        for governed, part in rows.groupby(rows["own_clock"] == clock):
            _series(panel, part, str(optimizer), filled=bool(governed))


def _series(panel: Axes, rows: pd.DataFrame, optimizer: str, *, filled: bool) -> None:
    y = 100 * rows["corrected"].fillna(rows["memory"])
    # A limit raised to 0 may lie above a negative estimate.
    below = (y - 100 * rows["low"].fillna(rows["memory"])).clip(lower=0)
    above = (100 * rows["high"].fillna(rows["memory"]) - y).clip(lower=0)
    colour = optimizer_look(optimizer).colour
    panel.errorbar(
        rows["place"],
        y,
        yerr=np.vstack([below, above]),
        fmt=optimizer_look(optimizer).marker,
        color=colour,
        markerfacecolor=colour if filled else "white",
        markersize=7 if filled else 6,
        alpha=1.0 if filled else 0.6,
        elinewidth=1.3,
        capsize=2.5,
        zorder=3 if filled else 2,
        label=f"{optimizer_look(optimizer).name}{'' if filled else ', governed by another clock'}",
    )


def _side_by_side(recipes: pd.DataFrame, clock: str, step: float) -> pd.Series[float]:
    """Where points stand: optimizers at one clock value beside one another."""
    order = {name: i for i, name in enumerate(dict.fromkeys(recipes["optimizer"]))}
    place = recipes[clock].copy()
    rounded = recipes[clock].map(lambda value: f"{value:.6g}")
    for _, rows in recipes.groupby(rounded):
        here = sorted(rows["optimizer"].unique(), key=lambda name: order[name])
        offset = rows["optimizer"].map(
            {name: i - (len(here) - 1) / 2 for i, name in enumerate(here)}
        )
        place[rows.index] = rows[clock] * np.exp(step * offset)
    return place


# --- boundary and legend ---
def _regions(panel: Axes, found: pd.Series[Any]) -> None:
    if math.isfinite(found["level"]):
        panel.axhline(100 * found["level"], color="#666666", linewidth=1, linestyle=":")
    if not math.isfinite(found["value"]):
        return
    left, right = panel.get_xlim()
    panel.axvspan(left, found["value"], color=REMEMBER_COLOUR, zorder=0, linewidth=0, alpha=0.6)
    panel.axvspan(found["value"], right, color=FORGET_COLOUR, zorder=0, linewidth=0, alpha=0.6)
    panel.axvspan(
        max(found["low"], left),
        min(found["high"], right),
        color="#555555",
        alpha=0.18,
        zorder=1,
        linewidth=0,
    )
    panel.axvline(found["value"], color="black", linewidth=1.8, zorder=1)
    panel.set_xlim(left, right)


def _heading(found: pd.Series[Any]) -> str:
    if math.isfinite(found["value"]):
        return (
            f"boundary {found['value']:.2g} [{found['low']:.2g}, {_end(found['high'])}]\n"
            f"{found['recipes']} recipes decide, {found['misplaced']} on the wrong side"
        )
    head, _, tail = str(found["reason"]).partition(": ")
    return f"{head}:\n{tail}" if tail else f"no boundary:\n{head}"


def _end(high: float) -> str:
    return f"{high:.2g}" if math.isfinite(high) else "∞"


def _legend(figure: Figure, recipes: pd.DataFrame, boundaries: pd.DataFrame) -> None:
    handles: list[Any] = [*optimizer_handles(recipes["optimizer"])]
    handles.append(hollow_handle("hollow: another clock governs"))
    if np.isfinite(boundaries["level"]).any():
        level = 100 * boundaries["level"].iloc[0]
        handles.append(
            Line2D(
                [],
                [],
                color="#666666",
                linestyle=":",
                label=f"half of the largest memory ({level:.1f} pp)",
            )
        )
    if np.isfinite(boundaries["value"]).any():
        handles += [
            Patch(color=REMEMBER_COLOUR, label="remembers"),
            Patch(color=FORGET_COLOUR, label="forgets"),
            Patch(color="#555555", alpha=0.3, label="boundary, 95 % interval"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=10)
