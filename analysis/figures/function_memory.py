"""Memory of the function beside memory of accuracy, a line per recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import optimizer_handles, optimizer_look, recipe_name

MOST_RECIPES = 24  # on one page
ROW_HEIGHT = 0.3  # inches
PANELS = (
    ("function_memory", "low", "high", "function memory (pp of test images)"),
    ("accuracy_corrected", "accuracy_low", "accuracy_high", "accuracy memory (pp)"),
)


def function_memory_pages(table: pd.DataFrame, title: str) -> list[Figure]:
    """Function memory and accuracy memory of each recipe, with their 95 % intervals.

    Parameters
    ----------
    table
        One row per recipe, in fractions: recipe, optimizer; function_memory, low, high;
        accuracy_corrected, accuracy_low, accuracy_high. Ends of intervals may be NaN.
    title
        Above both panels.

    Returns
    -------
    list of Figure
        One per 24 recipes, all on the same axes.
    """
    limits = [_limits(table, columns[:3]) for columns in PANELS]
    pages = range(0, len(table), MOST_RECIPES)
    return [_page(table.iloc[start : start + MOST_RECIPES], title, limits) for start in pages]


def _page(table: pd.DataFrame, title: str, limits: list[tuple[float, float]]) -> Figure:
    figure = Figure(figsize=(10.5, 1.9 + ROW_HEIGHT * max(len(table), 4)))
    panels = figure.subplots(1, 2, sharey=True)
    for panel, columns, limit in zip(panels, PANELS, limits, strict=True):
        _draw(panel, table, columns)
        panel.set_xlim(*limit)
    panels[0].set_yticks(range(len(table)), [recipe_name(name) for name in table["recipe"]])
    panels[0].set_ylim(len(table) - 0.4, -0.6)
    handles = optimizer_handles(table["optimizer"])
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    figure.suptitle(title, fontsize=12)
    return figure


def _draw(panel: Axes, table: pd.DataFrame, columns: tuple[str, str, str, str]) -> None:
    middle, low, high, label = columns
    panel.axvline(0, color="#888888", linewidth=0.8)
    for place, row in enumerate(table.to_dict("records")):
        look = optimizer_look(row["optimizer"])
        panel.plot(
            [100 * row[low], 100 * row[high]], [place, place], color=look.colour, linewidth=2
        )
        panel.plot(100 * row[middle], place, look.marker, color=look.colour, markersize=7)
    panel.set_xlabel(label)
    panel.grid(visible=False, axis="y")


def _limits(table: pd.DataFrame, columns: tuple[str, ...]) -> tuple[float, float]:
    """From below 0, or below the smallest estimate where that is less, to above the largest end."""
    values = 100 * table[list(columns)].to_numpy(dtype=np.float64)
    there = values[np.isfinite(values)]
    bottom, top = float(there.min(initial=0)), float(there.max(initial=0))
    margin = 0.03 * (top - bottom) or 1.0
    return bottom - margin, top + margin
