"""abs(β(t)) of rules against epochs, and of batch sizes on a clock: one page, as in Figure 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.scale_panels import legend_columns
from analysis.figures.style import CLOCK_LABELS, Look, log_ticks
from suite.declarations.perturbation import SIGMA_W, Perturbation

ROW_HEIGHT = 3.3  # inches
WIDTH = 13.0
FEWEST_FOR_A_LINE = 2
PARTS = 6  # of the width: divisible into two and into three panels
HEADROOM = 1.6  # above the largest abs(β)
LOW_PART = 0.02  # of the noise floors, which may lie below the axis


# --- the page ---
@dataclass(frozen=True)
class SensitivityPanel:
    """One panel.

    Attributes
    ----------
    heading
        Above it.
    axis
        'epoch', or a clock.
    table
        One row per line and epoch: line, the axis, absolute (abs(β)), absolute_low, absolute_high
        (its interval), floor_smooth (its mean where there is no sensitivity).
    """

    heading: str
    axis: str
    table: pd.DataFrame


def sensitivity_page(
    rows: Sequence[Sequence[SensitivityPanel]],
    looks: Mapping[str, Look],
    title: str,
    perturbation: Perturbation = SIGMA_W,
) -> Figure:
    """abs(β) in panels with logarithmic axes, the noise floor dotted in each curve's colour.

    Parameters
    ----------
    rows
        Each row fills the width.
    looks
        Name of a line to its look, in the legend's order.
    title
        Above all.
    perturbation
        The setting on which β is a slope.
    """
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * len(rows) + 1.3))
    grid = figure.add_gridspec(len(rows), PARTS)
    first: Axes | None = None
    for i, row in enumerate(rows):
        step = PARTS // len(row)
        for j, panel in enumerate(row):
            axes = figure.add_subplot(grid[i, j * step : (j + 1) * step], sharey=first)
            first = first or axes
            _draw(axes, panel, looks)
            if j == 0:
                axes.set_ylabel(
                    f"|β(t)|  (accuracy per unit of {perturbation.symbol})", fontsize=10
                )
            else:
                axes.tick_params(labelleft=False)
    assert first is not None
    whole = pd.concat([panel.table for row in rows for panel in row])
    first.set_ylim(*beta_limits(whole, HEADROOM))
    handles = _handles(looks)
    columns = legend_columns([str(handle.get_label()) for handle in handles[:-1]], WIDTH)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, 5), fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


# --- one panel ---
def _draw(axes: Axes, panel: SensitivityPanel, looks: Mapping[str, Look]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    shown = panel.table[panel.table[panel.axis] > 0]
    for name, look in looks.items():
        rows = shown[shown["line"] == name].sort_values("epoch")
        if rows.empty:
            continue
        x = rows[panel.axis]
        axes.fill_between(
            x,
            rows["absolute_low"].clip(lower=1e-9),
            rows["absolute_high"],
            color=look.colour,
            alpha=0.08,
            linewidth=0,
        )
        axes.plot(
            x, rows["floor_smooth"], ":", color=look.colour, linewidth=1.4, label=f"{name}, noise"
        )
        clear = rows["absolute"].where(~(rows["absolute"] < rows["floor_smooth"]))
        # What lies below the floor is noise, and drawn faintly.
        axes.plot(x, rows["absolute"], color=look.colour, linewidth=0.9, alpha=0.3)
        axes.plot(
            x,
            clear,
            color=look.colour,
            linestyle=look.dashes,
            linewidth=1.9,
            marker="o" if len(rows) < FEWEST_FOR_A_LINE else "",
            label=name,
        )
    axes.set_title(panel.heading, fontsize=11)
    axes.set_xlabel("epoch" if panel.axis == "epoch" else CLOCK_LABELS[panel.axis])
    if len(shown):
        log_ticks(axes.xaxis, float(shown[panel.axis].min()), float(shown[panel.axis].max()))


# --- limits and legend ---
def beta_limits(table: pd.DataFrame, headroom: float) -> tuple[float, float]:
    """From somewhat below the lowest noise floor to `headroom` times the largest abs(β)."""
    absolute, floor = (
        column[np.isfinite(column) & (column > 0)]
        for column in (table[name].to_numpy(np.float64) for name in ("absolute", "floor_smooth"))
    )
    if not absolute.size:
        return 1e-3, 1.0
    lowest = np.quantile(floor, LOW_PART) / 2 if floor.size else absolute.min()
    return float(min(lowest, absolute.max() / 10)), float(headroom * absolute.max())


def _handles(looks: Mapping[str, Look]) -> list[Line2D]:
    lines = [
        Line2D([], [], color=look.colour, linestyle=look.dashes, linewidth=2, label=name)
        for name, look in looks.items()
    ]
    noise = "|β| that noise alone would show (curves faint below it)"
    return [*lines, Line2D([], [], color="#555555", linestyle=":", linewidth=1.5, label=noise)]
