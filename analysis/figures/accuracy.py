"""Test accuracy against the initialization scale σw, or another perturbed setting."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.figures.perturbed_axis import PerturbedAxis
from analysis.figures.style import optimizer_look
from suite.declarations.perturbation import SIGMA_W, Perturbation

MOST_COLUMNS = 3
MOST_INSIDE = 4  # lines whose legend leaves room for them in the panel
STYLES = ("-", "--", ":", "-.")  # then again, with other markers
FILLS = ("full", "none", "left")
PANEL_WIDTH, PANEL_HEIGHT = 5.4, 3.9  # inches
LEGEND_WIDTH = 2.4


def accuracy_by_scale(
    table: pd.DataFrame, title: str, perturbation: Perturbation = SIGMA_W
) -> Figure:
    """Test accuracy at τ_best against σw: a panel per batch size, a line per recipe.

    Parameters
    ----------
    table
        One row per recipe and σw: recipe (its label), optimizer, batch_size, sigma_w, n, mean,
        p10, p90 (fractions), memory (of the recipe, a fraction). Another perturbed setting has its
        own column in place of `sigma_w`.
    title
        Above all panels.
    perturbation
        The setting along the horizontal axis.
    """
    axis = PerturbedAxis.of(perturbation, [table])
    sizes = sorted(table["batch_size"].unique())
    crowded = bool((table.groupby("batch_size")["recipe"].nunique() > MOST_INSIDE).any())
    columns = min(len(sizes), MOST_COLUMNS - crowded)
    rows = -(-len(sizes) // columns)
    width = PANEL_WIDTH + LEGEND_WIDTH * crowded
    figure = Figure(figsize=(width * columns + 0.4, PANEL_HEIGHT * rows + 0.5))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for panel in panels.flat[len(sizes) :]:
        panel.set_visible(False)
    for panel, size in zip(panels.flat, sizes, strict=False):
        _scale_panel(panel, table[table["batch_size"] == size], int(size), axis)
    for row in panels:
        row[0].set_ylabel("test accuracy at τ_best")
    seeds = (
        f"{table['n'].min()}"
        if table["n"].nunique() == 1
        else (f"{table['n'].min()}–{table['n'].max()}")
    )
    figure.suptitle(f"{title}\nmean and 10th to 90th percentile over {seeds} seeds", fontsize=12)
    return figure


def _scale_panel(panel: Axes, table: pd.DataFrame, batch_size: int, axis: PerturbedAxis) -> None:
    same = table.groupby("optimizer")["recipe"].nunique()
    seen: dict[str, int] = {}
    for label, rows in table.groupby("recipe", sort=False):
        rows = axis.sorted(rows)
        places = axis.places(rows)
        optimizer = rows["optimizer"].iloc[0]
        number = seen.get(optimizer, 0)
        seen[optimizer] = number + 1
        colour = optimizer_look(optimizer).colour
        name = optimizer_look(optimizer).name if same[optimizer] == 1 else str(label)
        panel.plot(
            places,
            rows["mean"],
            color=colour,
            marker=optimizer_look(optimizer).marker,
            markersize=5,
            linestyle=STYLES[number % len(STYLES)],
            fillstyle=FILLS[number // len(STYLES) % len(FILLS)],
            label=f"{name}  (spread {100 * rows['memory'].iloc[0]:.1f} pp)",
        )
        panel.fill_between(places, rows["p10"], rows["p90"], color=colour, alpha=0.18, linewidth=0)
    panel.set_title(f"batch size {batch_size}")
    axis.label(panel)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    if table["recipe"].nunique() > MOST_INSIDE:
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9.5)
    else:
        panel.legend(loc="lower left", fontsize=9.5)
