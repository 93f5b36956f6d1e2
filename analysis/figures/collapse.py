"""abs(β(t)) against epochs and against the recipes' own clock, as in Fig. 6 of Das et al. 2026."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.sensitivity import beta_limits
from analysis.figures.style import CLOCK_LABELS, DASHES, batch_colours, log_ticks, recipe_name

HEADROOM = 1.5  # above the largest abs(β)
MOST_WIDE = 3  # families on one page
LEAST_WIDTH = 7.4  # inches; the title and the legend take it
# S up to this is what errors estimated from few seeds give on the true clock
# (`analysis.estimates.collapse`).
WITHIN_NOISE = 2.0


# --- pages ---
def collapse_pages(betas: pd.DataFrame, collapses: pd.DataFrame, title: str) -> list[Figure]:
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

    Returns
    -------
    list of Figure
        One per three families.
    """
    families = list(dict.fromkeys(betas["family"]))
    pages = [families[i : i + MOST_WIDE] for i in range(0, len(families), MOST_WIDE)]
    colours = batch_colours([int(size) for size in betas["batch_size"].unique()])
    return [_page(betas, collapses, names, colours, title) for names in pages]


def _page(
    betas: pd.DataFrame,
    collapses: pd.DataFrame,
    families: list[str],
    colours: dict[int, tuple[float, float, float, float]],
    title: str,
) -> Figure:
    figure = Figure(figsize=(max(4.9 * len(families) + 0.4, LEAST_WIDTH), 7.6))
    panels = figure.subplots(2, len(families), sharey=True, squeeze=False)
    for column, family in zip(panels.T, families, strict=True):
        curves = betas[betas["family"] == family]
        for panel, axis in zip(column, ("epoch", str(curves["own_clock"].iloc[0])), strict=True):
            _curves(panel, curves, axis, colours)
            measured = collapses[(collapses["family"] == family) & (collapses["axis"] == axis)]
            number = (
                ""
                if axis != "epoch" and measured.empty
                else collapse_number(measured, curves["batch_size"].nunique())
            )
            head = f"{recipe_name(family)}\n" if axis == "epoch" else ""
            panel.set_title(head + number, fontsize=11)
            panel.set_xlabel("epoch" if axis == "epoch" else CLOCK_LABELS[axis])
    shown = betas[betas["family"].isin(families)]
    panels[0, 0].set_ylim(*beta_limits(shown, HEADROOM))
    for row in panels:
        row[0].set_ylabel("|β(t)|   (accuracy per unit of σw)")
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            linestyle=DASHES[i % len(DASHES)],
            linewidth=2,
            label=f"batch size {size}",
        )
        for i, (size, colour) in enumerate(colours.items())
    ]
    handles.append(
        Line2D(
            [],
            [],
            color="#555555",
            linestyle=":",
            linewidth=1.4,
            label="|β| that noise alone would show (faint: below it)",
        )
    )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 2 * len(families)),
        fontsize=10,
    )
    figure.suptitle(title, fontsize=12)
    return figure


# --- one panel ---
def _curves(
    panel: Axes,
    table: pd.DataFrame,
    axis: str,
    colours: dict[int, tuple[float, float, float, float]],
) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    for i, (size, colour) in enumerate(colours.items()):
        rows = table[(table["batch_size"] == size) & (table[axis] > 0)].sort_values("epoch")
        if rows.empty:
            continue
        noise = f"noise floor, batch size {size}"
        panel.plot(rows[axis], rows["floor_smooth"], ":", color=colour, linewidth=1.5, label=noise)
        # What lies below the floor is noise, and drawn faintly.
        clear = rows["absolute"].where(~(rows["absolute"] < rows["floor_smooth"]))
        style = DASHES[i % len(DASHES)]
        panel.plot(rows[axis], rows["absolute"], color=colour, linewidth=1, alpha=0.3)
        panel.plot(
            rows[axis],
            clear,
            color=colour,
            linewidth=1.9,
            linestyle=style,
            label=f"batch size {size}",
        )
    log_ticks(panel.xaxis, float(table[axis].min()), float(table[axis].max()))


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
