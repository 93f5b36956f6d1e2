"""When recipes forget, and how well the forgetting law predicts the memory of each from others."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import (
    CLOCK_LABELS,
    hollow_handle,
    log_ticks,
    optimizer_handles,
    optimizer_look,
    recipe_name,
)

ROW_HEIGHT = 0.27  # inches
LEAST_SHOWN = 1e-3  # of the largest memory: a prediction below stands there
TERM_NAMES = {
    "intercept": "memory at clock 1 (SGD)",
    "adaptive": "adaptive rule",
    "momentum": "momentum",
    "l2_on": "L2 on, at T_L2 = 1",
    "log_T_SGD": "T_SGD × 10",
    "log_T_adapt": "T_adapt × 10",
    "log_T_L2": "T_L2 × 10",
}


# --- figures ---
def forgetting_times_figure(times: pd.DataFrame, title: str) -> Figure:
    """The clock value at which each recipe has forgotten, with its interval: a panel per clock.

    Parameters
    ----------
    times
        One row per recipe: recipe, optimizer, axis, time, low, high, status, horizon (see
        `forgetting_by_recipe.forgetting_times`).
    title
        Above all.
    """
    clocks = [clock for clock in CLOCK_LABELS if (times["axis"] == clock).any()]
    counts = [int((times["axis"] == clock).sum()) for clock in clocks]
    figure = Figure(figsize=(10.5, sum(max(n, 2) * ROW_HEIGHT + 0.75 for n in counts) + 1.0))
    heights = [max(count, 2) * ROW_HEIGHT + 0.4 for count in counts]
    panels = figure.subplots(len(clocks), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[
        :, 0
    ]
    for panel, clock in zip(panels, clocks, strict=True):
        _times(panel, times[times["axis"] == clock])
        panel.set_xlabel(CLOCK_LABELS[clock])
    handles = [
        Line2D([], [], color="#444444", marker="o", linestyle="-", label="|β| at 1/e of its peak"),
        Line2D([], [], color="#444444", marker="|", linestyle="", ms=11, label="end of training"),
        Line2D([], [], color="#444444", marker=">", linestyle="", label="interval is open"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


def law_figure(predicted: pd.DataFrame, coefficients: pd.DataFrame, title: str) -> Figure:
    """Left: each recipe's memory as the law of all others predicts it; right: the coefficients.

    Parameters
    ----------
    predicted
        From `ForgettingLaw.leave_one_out`, with optimizer.
    coefficients
        From `ForgettingLaw.coefficients`.
    title
        Above all.
    """
    figure = Figure(figsize=(12.4, 5.6))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.15, 1)})
    known = predicted[np.isfinite(predicted["memory"])]
    _predictions(left, known)
    _coefficients(right, coefficients)
    inside = f"{int(known['inside'].sum())} of {len(known)}"
    left.set_title(f"{inside} memories inside the 95 % interval of their prediction", fontsize=11)
    handles = optimizer_handles(known["optimizer"])
    handles.append(hollow_handle("hollow: not seen; it is below this"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


# --- forgetting times ---
def _times(panel: Axes, rows: pd.DataFrame) -> None:
    panel.set_xscale("log")
    left, right = _span(rows)
    panel.set_xlim(left, right)
    log_ticks(panel.xaxis, left, right)
    for place, row in enumerate(rows.to_dict("records")):
        colour = optimizer_look(row["optimizer"]).colour
        low, high, time = row["low"], row["high"], row["time"]
        panel.plot(row["horizon"], place, "|", color="#444444", markersize=11)
        if math.isfinite(low):
            ends = max(low, left), min(high, right)
            panel.hlines(place, *ends, color=colour, linewidth=1.8)
            if low <= left:
                panel.plot(left, place, "<", color=colour, markersize=5, clip_on=False)
            if high >= right:
                panel.plot(right, place, ">", color=colour, markersize=5, clip_on=False)
        if math.isfinite(time):
            marker = optimizer_look(row["optimizer"]).marker
            panel.plot(time, place, marker, color=colour, markersize=6.5, zorder=3)
        else:
            word = {"never": "not within training"}.get(row["status"], row["status"])
            panel.annotate(
                word,
                (1, place),
                (8, 0),
                xycoords=panel.get_yaxis_transform(),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color="#555555",
            )
    panel.set_yticks(range(len(rows)), [recipe_name(name) for name in rows["recipe"]])
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)


def _span(rows: pd.DataFrame) -> tuple[float, float]:
    """From below the earliest time, or a thousandth of the horizon, to beyond the last horizon."""
    values = rows[["time", "low"]].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values) & (values > 0)]
    horizon = float(rows["horizon"].max())
    if math.isnan(horizon):  # all runs diverged
        return 0.1, 10.0
    lowest = float(values.min()) if values.size else horizon / 100
    return max(lowest, horizon * 1e-5) / 1.5, 2.0 * horizon


# --- the law ---
def _predictions(panel: Axes, known: pd.DataFrame) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    # Of a memory that is not seen, only how large it may be is known.
    known = known.assign(at=known["observed"].where(~known["unseen"], known["observed_high"]))
    values = 100 * known[["at", "memory"]].to_numpy(dtype=np.float64)
    values = values[(values > 0).all(1)]
    if not values.size:
        return
    least = 100 * float(known["at"].max()) * LEAST_SHOWN
    for row in known.to_dict("records"):
        colour = optimizer_look(row["optimizer"]).colour
        middle = max(100 * row["memory"], least)
        panel.errorbar(
            max(100 * row["at"], least),
            middle,
            yerr=[[middle - max(100 * row["low"], least / 10)], [100 * row["high"] - middle]],
            xerr=[[100 * row["at"] / 4], [0]] if row["unseen"] else None,
            xuplims=row["unseen"],
            fmt=optimizer_look(row["optimizer"]).marker,
            color=colour,
            markerfacecolor="white" if row["unseen"] else colour,
            markersize=6.5,
            elinewidth=1.0,
            alpha=0.85,
            label=str(row["recipe"]),
        )
    values = np.maximum(values, least)
    low, high = float(values.min()) / 2, float(values.max()) * 2
    panel.plot([low, high], [low, high], color="#444444", linewidth=1.1, zorder=1)
    panel.set(xlim=(low, high), ylim=(low / 2, high * 2))
    log_ticks(panel.xaxis, low, high)
    log_ticks(panel.yaxis, low / 2, high * 2)
    panel.set_xlabel("memory observed (pp)")
    panel.set_ylabel("memory predicted by the other recipes (pp)")


def _coefficients(panel: Axes, table: pd.DataFrame) -> None:
    shown = table[table["term"] != "intercept"]
    places = np.arange(len(shown))
    low, high = _padded(shown[["factor_low", "factor_high"]].to_numpy(dtype=np.float64))
    panel.set_xscale("log")
    panel.set_xlim(low, high)
    log_ticks(panel.xaxis, low, high)
    ends = shown["factor_low"].clip(lower=low), shown["factor_high"].clip(upper=high)
    panel.hlines(places, *ends, color="#333333", linewidth=1.8)
    told = np.isfinite(shown["factor_high"]).to_numpy()
    for place in places[~told]:  # an empty line has no extent, which spoils the layout
        for marker, end in (("<", low), (">", high)):
            panel.plot(end, place, marker, color="#333333", clip_on=False)
    panel.plot(shown["factor"].to_numpy()[told], places[told], "o", color="#333333", markersize=7)
    panel.axvline(1.0, color="#888888", linewidth=1.1)
    panel.set_yticks(places, [term_name(str(name)) for name in shown["term"]])
    panel.set_ylim(len(shown) - 0.4, -0.6)
    panel.set_xlabel("what memory is multiplied by (95 % interval)")
    panel.set_title("terms of the law", fontsize=11)


def _padded(ends: np.ndarray) -> tuple[float, float]:
    there = ends[np.isfinite(ends) & (ends > 0)]
    return (
        min(float(there.min(initial=0.5)), 0.5) / 1.3,
        max(float(there.max(initial=2.0)), 2.0) * 1.3,
    )


def term_name(term: str) -> str:
    """A term of the law in words."""
    return TERM_NAMES.get(term, term)
