"""Heat maps of test accuracy over recipe and σw, as in Fig. 2 of Das et al. 2026."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.figures.perturbed_axis import PerturbedAxis
from analysis.figures.style import ACCURACY_MAP, ink_on, recipe_name
from suite.declarations.perturbation import SIGMA_W, Perturbation

MOST_TICKS = 9  # σw along one panel
MOST_TALL = 3  # panels on top of one another
CELL_HEIGHT = 0.36  # inches
PANEL_WIDTH = 5.6
LETTERS_PER_INCH = 11  # of a title


def accuracy_map(table: pd.DataFrame, title: str, perturbation: Perturbation = SIGMA_W) -> Figure:
    """Test accuracy at τ_best over family and σw: a panel per batch size, one colour scale.

    A × says that the mean training accuracy at τ_best is below 99.5 %: the selected model has not
    fitted its labels, so that its accuracy tells of the optimization too. A triangle says that some
    runs failed: they diverged, or learned next to nothing. A hatched place has no finished run.

    Parameters
    ----------
    table
        One row per recipe and σw: family (its name but for the batch size), batch_size, sigma_w,
        mean (a fraction; NaN without a run), fitted_at_best, n, diverged, untrained. Another
        perturbed setting has its own column in place of `sigma_w`.
    title
        Above all panels.
    perturbation
        The setting along the horizontal axis.
    """
    sizes = sorted(table["batch_size"].unique())
    families = list(dict.fromkeys(table["family"]))
    columns = -(-len(sizes) // MOST_TALL)
    rows = -(-len(sizes) // columns)
    height = rows * (CELL_HEIGHT * max(len(families), 2) + 0.75) + 0.9
    figure = Figure(figsize=(PANEL_WIDTH * columns + 1.9, height))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    scale = _colour_scale(table["mean"].to_numpy(dtype=np.float64))
    for panel, size in zip(panels.flat, sizes, strict=False):
        _draw(panel, table[table["batch_size"] == size], families, scale, perturbation)
        panel.set_title(f"batch size {size}")
    for panel in panels.flat[len(sizes) :]:
        panel.set_visible(False)
    for panel in panels.flat[max(0, len(sizes) - columns) : len(sizes)]:
        panel.set_xlabel(perturbation.label)
    figure.colorbar(
        ScalarMappable(scale, ACCURACY_MAP),
        ax=panels,
        label="test accuracy at τ_best",
        format=PercentFormatter(1.0),  # with as many digits as tell its ticks apart
        aspect=30,
    )
    marks = ["× mean train accuracy at τ_best below 99.5 %", "hatched: no run"]
    if (table[["diverged", "untrained"]] > 0).any(axis=None):
        marks.insert(1, "▽ some runs diverged or learned next to nothing")
    legend = "; ".join(marks)
    if len(legend) > LETTERS_PER_INCH * figure.get_figwidth():
        legend = legend.replace("; ", ";\n", 1)
    figure.suptitle(f"{title}\n{legend}", fontsize=12)
    return figure


def _draw(
    panel: Axes,
    table: pd.DataFrame,
    families: list[str],
    scale: Normalize,
    perturbation: Perturbation,
) -> None:
    columns = list(PerturbedAxis.of(perturbation, [table]).values)
    across = {"index": "family", "columns": perturbation.name}
    grid = table.pivot(**across, values="mean").reindex(index=families, columns=columns)
    fitted = table.pivot(**across, values="fitted_at_best")
    fitted = fitted.reindex(index=families, columns=columns)
    values = grid.to_numpy(dtype=np.float64)
    panel.set_facecolor("#EEEEEE")
    panel.patch.set_hatch("////")
    panel.patch.set_edgecolor("#AAAAAA")
    image = panel.imshow(values, cmap=ACCURACY_MAP, norm=scale, aspect="auto")
    unfitted = np.isfinite(values) & (fitted.to_numpy() == False)  # noqa: E712  (NaN is neither)
    for row, column in zip(*np.nonzero(unfitted), strict=True):
        ink = ink_on(image.to_rgba(values[row, column]))
        panel.plot(column, row, "x", color=ink, markersize=5.5, markeredgewidth=1.3)
    failed = table.assign(failed=table[["diverged", "untrained"]].sum(axis=1))
    counts = failed.pivot(**across, values="failed").reindex(index=families, columns=columns)
    for row, column in zip(*np.nonzero(counts.to_numpy(dtype=np.float64) > 0), strict=True):
        ink = ink_on(image.to_rgba(values[row, column]))
        panel.plot(
            column + 0.3, row - 0.22, "v", color=ink, markersize=5, markerfacecolor="none", zorder=3
        )
    every = -(-len(columns) // MOST_TICKS)
    panel.set_xticks(
        np.arange(0, len(columns), every), [perturbation.value(s) for s in columns[::every]]
    )
    panel.set_yticks(range(len(families)), [recipe_name(family) for family in families])
    panel.grid(visible=False)
    panel.tick_params(length=2)
    panel.spines[["left", "bottom"]].set_visible(False)


def _colour_scale(values: np.ndarray) -> Normalize:
    there = values[np.isfinite(values)]
    if not there.size:
        return Normalize(0.0, 1.0)
    low, high = float(there.min()), float(there.max())
    # A single value would leave the colour bar without a length.
    return Normalize(low, high) if high - low > 1e-6 else Normalize(low - 0.01, high + 0.01)
