"""The phase diagram: memory over learning rate and batch size, and against the three clocks."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis.figures.style import MEMORY_MAP, ink_on, recipe_name

MOST_WIDE = 4


# --- the figure ---
def memory_plane(recipes: pd.DataFrame, rates: pd.DataFrame, title: str) -> Figure:
    """Memory over learning rate and batch size, a panel for each choice of all other settings.

    Where the learning rate does not vary, its place is taken by the families. A line shows where a
    measured boundary of a clock runs through the plane, with the band of its interval.

    Parameters
    ----------
    recipes
        One row per recipe: family, facet, learning_rate, batch_size, memory, corrected, low, high
        (fractions; NaN where they cannot be had).
    rates
        From `phase_boundary.boundary_rates`; may be empty.
    title
        Above all panels.
    """
    by_rate = recipes["learning_rate"].nunique() > 1
    sizes = sorted(recipes["batch_size"].unique())
    facets = list(dict.fromkeys(recipes["facet"])) if by_rate else [""]
    levels = sorted(recipes["learning_rate"].unique()) if by_rate else _in_order(recipes["family"])
    columns = min(MOST_WIDE, len(facets))
    rows = -(-len(facets) // columns)
    width = max(2.6, 1.15 * len(sizes)) * columns + 2.3 + (0 if by_rate else 0.9)
    figure = Figure(figsize=(width, rows * (0.72 * max(len(levels), 3) + 0.9) + 1.1))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    scale = Normalize(0, max(0.01, 100 * float(_shown(recipes).max())))
    for panel, facet in zip(panels.flat, facets, strict=False):
        part = recipes[recipes["facet"] == facet] if by_rate else recipes
        _plane(panel, part, "learning_rate" if by_rate else "family", levels, sizes, scale)
        if by_rate:
            lines = rates[rates["facet"] == facet]
            _boundary_line(panel, lines, levels, sizes)
            clock = f"\nboundary on {lines['clock'].iloc[0]}" if len(lines) else ""
            panel.set_title(recipe_name(facet) + clock, fontsize=11)
    for panel in panels.flat[len(facets) :]:
        panel.set_visible(False)
    _plane_axes(panels, levels, sizes, by_rate)
    figure.colorbar(ScalarMappable(scale, MEMORY_MAP), ax=panels, label="memory (pp)", aspect=25)
    note = "corrected memory in pp [95 % interval]"
    if by_rate and len(rates):
        note += "\ndashed: measured boundary of the governing clock"
    figure.suptitle(f"{title}\n{note}", fontsize=12)
    return figure


# --- cells of the plane ---
def _in_order(names: pd.Series[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _shown(recipes: pd.DataFrame) -> pd.Series[float]:
    """Corrected memory, and the paper's where one seed allows no other."""
    return recipes["corrected"].fillna(recipes["memory"])


def _plane(
    panel: Axes,
    recipes: pd.DataFrame,
    vertical: str,
    levels: list[Any],
    sizes: list[int],
    scale: Normalize,
) -> None:
    grid = np.full((len(levels), len(sizes)), np.nan)
    texts = []
    for row in recipes.assign(shown=100 * _shown(recipes)).to_dict("records"):
        place = levels.index(row[vertical]), sizes.index(row["batch_size"])
        grid[place] = row["shown"]
        texts.append((place, _number(row)))
    panel.set_facecolor("#EEEEEE")
    panel.patch.set_hatch("////")
    panel.patch.set_edgecolor("#AAAAAA")
    image = panel.imshow(
        grid,
        cmap=MEMORY_MAP,
        norm=scale,
        aspect="auto",
        origin="lower" if _rising(levels) else None,
    )
    for (y, x), text in texts:
        ink = ink_on(image.to_rgba(grid[y, x])) if math.isfinite(grid[y, x]) else "black"
        outline = "white" if ink == "black" else "black"
        panel.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            color=ink,
            fontsize=9.5,
            linespacing=1.15,
            zorder=4,
            path_effects=[withStroke(linewidth=2.2, foreground=outline, alpha=0.5)],
        )


def _rising(levels: list[Any]) -> bool:
    return not isinstance(levels[0], str)


def _number(row: dict[Hashable, Any]) -> str:
    if not math.isfinite(row["shown"]):
        return "–"
    shown = f"{round(row['shown'], 1) + 0.0:.1f}"  # −0.0 is 0.0
    if not math.isfinite(row["low"]):
        return shown
    return f"{shown}\n[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


# --- the boundary in it ---
def _boundary_line(panel: Axes, rates: pd.DataFrame, levels: list[Any], sizes: list[int]) -> None:
    """The rates on the boundary, at heights that are linear in the logarithm between rows."""
    if rates.empty or len(levels) < 2:
        return
    rates = rates.sort_values("batch_size")
    x = np.array([sizes.index(size) for size in rates["batch_size"]], dtype=np.float64)
    heights = [
        _height(rates[name].to_numpy(dtype=np.float64), levels) for name in ("rate", "low", "high")
    ]
    if x.size == 1:
        x, heights = np.array([x[0] - 0.5, x[0] + 0.5]), [np.repeat(h, 2) for h in heights]
    elif x.size > 1:
        x, heights = _to_the_edges(x), [_extended(h) for h in heights]
    limits = panel.get_xlim(), panel.get_ylim()
    panel.plot(x, heights[0], "--", color="black", linewidth=1.8, label="boundary")
    panel.fill_between(x, heights[1], heights[2], color="black", alpha=0.13, linewidth=0)
    panel.set(xlim=limits[0], ylim=limits[1])


def _height(rates: np.ndarray, levels: list[Any]) -> np.ndarray:
    known = np.log(levels)
    with np.errstate(divide="ignore"):
        log = np.log(rates)
    # Beyond the outer rows the line goes on as between the nearest two.
    below = (log - known[0]) / (known[1] - known[0])
    above = len(levels) - 1 + (log - known[-1]) / (known[-1] - known[-2])
    inside = np.interp(log, known, np.arange(len(levels)))
    found = np.where(log < known[0], below, np.where(log > known[-1], above, inside))
    return np.asarray(np.clip(found, -2, len(levels) + 1))


def _to_the_edges(x: np.ndarray) -> np.ndarray:
    return np.concatenate([[x[0] - 0.5], x, [x[-1] + 0.5]])


def _extended(y: np.ndarray) -> np.ndarray:
    return np.concatenate([[1.5 * y[0] - 0.5 * y[1]], y, [1.5 * y[-1] - 0.5 * y[-2]]])


# --- axes ---
def _plane_axes(panels: np.ndarray, levels: list[Any], sizes: list[int], by_rate: bool) -> None:
    for panel in panels.flat:
        panel.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        names = [f"{level:g}" if by_rate else recipe_name(str(level)) for level in levels]
        panel.set_yticks(range(len(levels)), names)
        panel.grid(visible=False)
        panel.spines[["left", "bottom"]].set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel("batch size b")
    if by_rate:
        for row in panels:
            row[0].set_ylabel("learning rate η0")
