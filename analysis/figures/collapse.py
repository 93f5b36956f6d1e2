"""abs(β(t)) against epochs and against the recipes' own clock, as in Fig. 6 of Das et al. 2026."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.clock_pages import by_batch_size, clock_pages, name_of
from analysis.figures.sensitivity import beta_limits
from analysis.figures.style import Look, recipe_name
from suite.declarations.perturbation import SIGMA_W, Perturbation

HEADROOM = 1.5  # above the largest abs(β)
NOISE = "|β| that noise alone would show (faint: below it)"
# S up to this is what errors estimated from few seeds give on the true clock
# (`analysis.estimates.collapse`).
WITHIN_NOISE = 2.0


# --- pages ---
def collapse_pages(
    betas: pd.DataFrame, collapses: pd.DataFrame, title: str, perturbation: Perturbation = SIGMA_W
) -> list[Figure]:
    """abs(β) of curves of several batch sizes, above against epochs, below on the own clock.

    Parameters
    ----------
    betas
        One row per recipe and epoch: family, batch_size, own_clock, epoch, T_SGD,
        T_L2, T_adapt, absolute (abs(β), accuracy per unit of σw), floor_smooth (its mean where
        there is no sensitivity; NaN where unknown).
    collapses
        One row per family and axis: family, axis, verdict, reason, quality, quality_low,
        quality_high, distance (see `analysis.estimates.collapse`). A family may be absent.
    title
        Above all panels.
    perturbation
        The setting on which |β(t)| is a slope.

    Returns
    -------
    list of Figure
        One per three families.
    """

    def draw(panel: Axes, curves: pd.DataFrame, axis: str, looks: Mapping[int, Look]) -> str:
        _curves(panel, curves, axis, looks)
        family = str(curves["family"].iloc[0])
        measured = collapses[(collapses["family"] == family) & (collapses["axis"] == axis)]
        number = collapse_number(measured, curves["batch_size"].nunique())
        if axis == "epoch":
            return f"{recipe_name(family)}\n{number}"
        return "" if measured.empty else number

    noise = Line2D([], [], color="#555555", linestyle=":", linewidth=1.4, label=NOISE)
    return clock_pages(
        betas,
        draw,
        title=title,
        label=f"|β(t)|   (accuracy per unit of {perturbation.symbol})",
        limits=lambda shown: beta_limits(shown, HEADROOM),
        more=[noise],
    )


def _curves(panel: Axes, table: pd.DataFrame, axis: str, looks: Mapping[int, Look]) -> None:
    panel.set_yscale("log")
    for size, look, rows in by_batch_size(table, axis, looks):
        x, floor, absolute = rows[axis], rows["floor_smooth"], rows["absolute"]
        noise = f"noise floor, {name_of(size)}"
        panel.plot(x, floor, ":", color=look.colour, linewidth=1.5, label=noise)
        # What lies below the floor is noise, and drawn faintly.
        panel.plot(x, absolute, color=look.colour, linewidth=1, alpha=0.3)
        clear = absolute.where(~(absolute < floor))
        style = {"color": look.colour, "linestyle": look.dashes, "linewidth": 1.9}
        panel.plot(x, clear, label=name_of(size), **style)


# --- the measure in words ---
def collapse_number(measured: pd.DataFrame, curves: int) -> str:
    """The quality of a collapse with its interval and verdict, in one line."""
    if measured.empty:
        return "" if curves > 1 else "one batch size: no collapse to measure"
    row = measured.iloc[0]
    if row["reason"]:
        return f"{row['verdict']}: {row['reason']}"
    number = f"S = {_short(row['quality'])} [{_short(row['quality_low'])}, "
    number += f"{_short(row['quality_high'])}], {row['distance']:.2f} dex apart"
    words = {"better": "better than epochs"}.get(row["verdict"], row["verdict"])
    if row["verdict"] == "collapses" and row["quality_low"] > WITHIN_NOISE:
        words = "collapses, but not within noise"
    return f"{number}, {words}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
