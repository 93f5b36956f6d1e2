"""What makes a rule forget: accuracy against σw, and beside it the spreads in ascending order."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.figures.perturbed_axis import PerturbedAxis
from analysis.figures.style import DASHES, MARKERS, Look
from suite.declarations.perturbation import SIGMA_W, Perturbation

RATE_MAP = "plasma"
BAR_HEIGHT = 0.27  # inches
LEAST_HEIGHT = 3.2


def spread_figure(
    lines: pd.DataFrame,
    spreads: pd.DataFrame,
    looks: Mapping[str, Look],
    title: str,
    perturbation: Perturbation = SIGMA_W,
) -> Figure:
    """A row of two panels for each batch size: accuracy against σw, and spreads as bars.

    Parameters
    ----------
    lines
        One row per batch size, line and σw: batch_size, line, sigma_w, mean, p10, p90 (fractions).
        Another perturbed setting has its own column in place of `sigma_w`.
    spreads
        One row per batch size and line: batch_size, line, memory, low, high (fractions; NaN
        without an interval).
    looks
        Name of a line to its look. The names stand beside the bars.
    title
        Above all.
    perturbation
        The setting along the horizontal axis of the accuracies.
    """
    axis = PerturbedAxis.of(perturbation, [lines])
    sizes = sorted(int(size) for size in lines["batch_size"].unique())
    most = int(spreads.groupby("batch_size")["line"].nunique().max())
    height = max(LEAST_HEIGHT, BAR_HEIGHT * most + 0.9)
    figure = Figure(figsize=(13.0, height * len(sizes) + 0.7))
    axes = figure.subplots(
        len(sizes), 2, squeeze=False, sharex="col", gridspec_kw={"width_ratios": (1.15, 1)}
    )
    for (left, right), size in zip(axes, sizes, strict=True):
        _accuracies(left, lines[lines["batch_size"] == size], looks, axis)
        left.set_title(f"batch size {size}", fontsize=11)
        _bars(right, spreads[spreads["batch_size"] == size], looks)
    axis.label(axes[-1, 0])
    axes[-1, 1].set_xlabel(f"spread of test accuracy over {perturbation.symbol} (pp)")
    low, high = _limits(lines)
    for panel in axes[:, 0]:
        panel.set_ylim(low, high)
    figure.suptitle(title, fontsize=12)
    return figure


def rate_looks(
    names: Mapping[str, tuple[float, float]], rates: Collection[float], decays: Collection[float]
) -> dict[str, Look]:
    """Looks of SGD's recipes: colour by learning rate from dark to light, dashes by λ.

    Parameters
    ----------
    names
        Name of a line to its learning rate and λ.
    rates, decays
        All values there are.
    """
    shades = mpl.colormaps[RATE_MAP](np.linspace(0.0, 0.75, len(rates)))
    colours = dict(zip(sorted(rates), shades, strict=True))
    order = sorted(decays)
    return {
        name: Look(
            tuple(colours[rate]),
            MARKERS[order.index(decay) % len(MARKERS)],
            DASHES[order.index(decay) % len(DASHES)],
        )
        for name, (rate, decay) in names.items()
    }


def _accuracies(
    panel: Axes, table: pd.DataFrame, looks: Mapping[str, Look], axis: PerturbedAxis
) -> None:
    for name, look in looks.items():
        rows = axis.sorted(table[table["line"] == name])
        if rows.empty:
            continue
        places = axis.places(rows)
        panel.plot(
            places,
            rows["mean"],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            markersize=5,
            linewidth=1.6,
            label=name,
        )
        panel.fill_between(
            places, rows["p10"], rows["p90"], color=look.colour, alpha=0.12, linewidth=0
        )
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    panel.set_ylabel("test accuracy at τ_best")


def _bars(panel: Axes, table: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    rows = table.sort_values("memory", kind="stable")
    values = 100 * rows["memory"].to_numpy(dtype=np.float64)
    places = np.arange(len(rows))
    colours = [looks[name].colour for name in rows["line"]]
    panel.barh(places, values, color=colours, alpha=0.75, height=0.72)
    ends = 100 * rows[["low", "high"]].to_numpy(dtype=np.float64)
    panel.hlines(places, ends[:, 0], ends[:, 1], color="black", linewidth=1.4)
    for place, name, value, (low, high) in zip(places, rows["line"], values, ends, strict=True):
        look = looks[name]
        # The line's marker joins a bar to its curve.
        panel.plot(
            -0.02,
            place,
            marker=look.marker,
            color=look.colour,
            markersize=6,
            clip_on=False,
            transform=panel.get_yaxis_transform(),
        )
        text = f"{value:.1f}" if math.isnan(low) else f"{value:.1f} [{low:.1f}, {high:.1f}]"
        start = value if math.isnan(high) else max(value, high)
        panel.annotate(
            text, (start, place), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
    panel.set_yticks(places, list(rows["line"]))
    panel.tick_params(axis="y", length=0, pad=10)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.3 * max(float(np.nanmax(np.column_stack([values, ends]), initial=0)), 1))
    panel.grid(visible=False, axis="y")


def _limits(lines: pd.DataFrame) -> tuple[float, float]:
    values = lines[["mean", "p10", "p90"]].to_numpy(dtype=np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.04 * max(high - low, 0.01)
    return low - room, high + room
