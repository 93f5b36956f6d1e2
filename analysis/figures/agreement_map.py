"""How often runs of two σw agree on a test image: a map of σw against σw for each recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.figures.style import ACCURACY_MAP, ink_on, recipe_name
from suite.declarations.perturbation import Perturbation

PANELS_PER_ROW, ROWS = 4, 2
PANEL = 3.1  # inches
MOST_WRITTEN = 5  # values up to which the numbers stand in their places
MOST_TICKS = 6


def agreement_pages(table: pd.DataFrame, title: str, perturbation: Perturbation) -> list[Figure]:
    """The share of test images on which runs of other seeds agree, a panel per recipe.

    All pages have one colour scale.

    Parameters
    ----------
    table
        From `function_memory.agreement_map`.
    title
        Above all panels.
    perturbation
        The setting along both axes.
    """
    shares = table["other_seeds"].to_numpy(dtype=np.float64)
    low, high = float(shares.min()), float(shares.max())
    scale = Normalize(low, high) if high - low > 1e-6 else Normalize(low - 0.01, high + 0.01)
    names = list(dict.fromkeys(table["recipe"]))
    most = PANELS_PER_ROW * ROWS
    pages = (names[start : start + most] for start in range(0, len(names), most))
    return [_page(table, page, scale, title, perturbation) for page in pages]


def _page(
    table: pd.DataFrame, names: list[str], scale: Normalize, title: str, perturbation: Perturbation
) -> Figure:
    columns = min(PANELS_PER_ROW, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(PANEL * columns + 1.5, (PANEL + 0.35) * rows + 0.6))
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, name in zip(panels.flat, names, strict=False):
        _draw(panel, table[table["recipe"] == name], scale, perturbation)
        panel.set_title(recipe_name(name), fontsize=10)
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    figure.colorbar(
        ScalarMappable(scale, ACCURACY_MAP),
        ax=panels,
        label="test images on which two runs agree",
        format=PercentFormatter(1.0),  # with as many digits as tell its ticks apart
        aspect=30,
    )
    figure.suptitle(title, fontsize=12)
    return figure


def _draw(panel: Axes, table: pd.DataFrame, scale: Normalize, perturbation: Perturbation) -> None:
    name = perturbation.name
    grid = table.pivot(index=name, columns=f"other_{name}", values="other_seeds")
    ordered = perturbation.ordered(grid.index)
    grid = grid.loc[ordered, ordered]
    values = grid.to_numpy(dtype=np.float64)
    image = panel.imshow(values, cmap=ACCURACY_MAP, norm=scale, origin="lower")
    if len(values) <= MOST_WRITTEN:
        for (row, column), share in np.ndenumerate(values):
            ink = ink_on(image.to_rgba(share))
            panel.text(column, row, f"{100 * share:.0f}", color=ink, ha="center", va="center")
    every = -(-len(values) // MOST_TICKS)
    places = np.arange(0, len(values), every)
    words = [perturbation.value(one) for one in ordered[::every]]
    panel.set_xticks(places, words)
    panel.set_yticks(places, words)
    panel.set_xlabel(f"{perturbation.symbol} of one run")
    panel.set_ylabel(f"{perturbation.symbol} of the other")
    panel.grid(visible=False)
    panel.tick_params(length=2)
    panel.spines[["left", "bottom"]].set_visible(False)
