"""Where the start survives: maps of each layer's cosine to its initial kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.figures.style import CLOCK_LABELS, LAYER_MAP, ink_on, log_ticks, recipe_name
from suite.declarations.perturbation import SIGMA_W, Perturbation

MOST_RECIPES = 4  # on top of one another on a page of curves
MOST_NAMES = 16  # of layers along an axis
LAYER_HEIGHT, LAYER_WIDTH = 0.2, 0.32  # inches
WIDEST = 14.0  # of all panels of a map of recipes
STAR = 9.0  # points
PANEL_WIDTH = 3.6
HALF_COLOUR = "#D55E00"
EMPTY = "#EEEEEE"


# --- each recipe in the course of training ---
def layer_maps(
    curves: pd.DataFrame,
    forgotten: pd.DataFrame,
    title: str,
    perturbation: Perturbation = SIGMA_W,
) -> list[Figure]:
    """Mean cosine by layer and clock: a row per recipe, a column per σw, one colour scale.

    Each row has its recipe's leading clock below and the epochs above. A dot stands where a layer's
    mean cosine has fallen to one half; an arrow at the left edge says that it did so within the
    first epoch.

    Parameters
    ----------
    curves
        From `layer_memory.layer_curves`: recipe, sigma_w, epoch, axis, time, layer, depth, cosine.
    forgotten
        From `layer_memory.layer_forgetting` on the recipes' own clocks: recipe, sigma_w, depth,
        time, status.
    title
        Above all panels.
    perturbation
        The perturbed setting, whose values the columns are.

    Returns
    -------
    list of Figure
        One per four recipes.
    """
    recipes = list(dict.fromkeys(curves["recipe"]))
    perturbed = perturbation.name
    scales = perturbation.ordered(curves[perturbed])
    pages = []
    for start in range(0, len(recipes), MOST_RECIPES):
        names = recipes[start : start + MOST_RECIPES]
        tallest = int(curves.loc[curves["recipe"].isin(names), "depth"].max()) + 1
        height = len(names) * (min(LAYER_HEIGHT * tallest, 4.0) + 1.4) + 0.9
        figure = Figure(figsize=(PANEL_WIDTH * len(scales) + 2.6, height))
        panels = figure.subplots(len(names), len(scales), squeeze=False, sharey="row", sharex="row")
        for row, name in zip(panels, names, strict=True):
            for panel, scale in zip(row, scales, strict=True):
                of = [
                    f[(f["recipe"] == name) & (f[perturbed] == scale)] for f in (curves, forgotten)
                ]
                _map(panel, *of)
                panel.set_title(f"{recipe_name(name)}, {_word(perturbation, scale)}", fontsize=11)
            _name_layers(row[0], curves[curves["recipe"] == name])
        figure.colorbar(
            _colours(),
            ax=panels,
            label="cosine to the initial kernel",
            extend="min",
            aspect=30,
        )
        figure.suptitle(f"{title}\ndot: the cosine has fallen to ½; ◂: within epoch 1", fontsize=12)
        pages.append(figure)
    return pages


def _map(panel: Axes, curves: pd.DataFrame, forgotten: pd.DataFrame) -> None:
    panel.set_facecolor(EMPTY)
    panel.grid(visible=False)
    panel.set_xscale("log")
    later = curves[(curves["epoch"] >= 1) & (curves["time"] > 0)]
    if later.empty:
        return
    grid = later.pivot(index="depth", columns="time", values="cosine")
    times = grid.columns.to_numpy(dtype=np.float64)
    edges = _edges(times)
    heights = np.arange(len(grid) + 1) - 0.5
    values = np.ma.masked_invalid(grid.to_numpy(dtype=np.float64))
    panel.pcolormesh(edges, heights, values, cmap=LAYER_MAP, vmin=0, vmax=1)
    crossed = forgotten[forgotten["status"] == "crossed"]
    early = forgotten.loc[forgotten["status"] == "immediate", "depth"]
    dot = {"markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.8}
    looks: dict[str, Any] = {"color": HALF_COLOUR, "linestyle": "", **dot}
    panel.plot(crossed["time"], crossed["depth"], marker="o", **looks)
    if len(early):  # matplotlib cannot lay out what is empty and not clipped
        panel.plot([edges[0]] * len(early), early, marker="<", clip_on=False, **looks)
    log_ticks(panel.xaxis, float(times[0]), float(times[-1]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(f"{CLOCK_LABELS[later['axis'].iloc[0]]}; above: epochs")
    _name_epochs(panel, later.groupby("epoch")["time"].first())
    panel.set_xlim(edges[0], edges[-1])
    panel.set_ylim(heights[0], heights[-1])


def _word(perturbation: Perturbation, value: Any) -> str:
    return f"{perturbation.symbol} = {perturbation.value(value)}"


def _name_epochs(panel: Axes, times: pd.Series) -> None:
    """Name the epochs 1, 10, 100, … above a panel, where they lie on its clock."""
    epochs = times.index.to_numpy(dtype=np.float64)
    shown = [aim for aim in 10 ** np.arange(9) if epochs[0] <= aim <= epochs[-1]]
    places = np.exp(np.interp(np.log(shown), np.log(epochs), np.log(times)))
    above = panel.secondary_xaxis("top")
    above.set_ticks(places.tolist(), [str(aim) for aim in shown], fontsize=9)
    above.xaxis.set_minor_locator(NullLocator())


def _edges(times: np.ndarray) -> np.ndarray:
    """Where cells around these times meet, half-way along their logarithm."""
    if times.size == 1:
        return np.array([times[0] / 1.2, times[0] * 1.2])
    log = np.log(times)
    middle = (log[1:] + log[:-1]) / 2
    ends = (2 * log[0] - middle[0], 2 * log[-1] - middle[-1])
    return np.asarray(np.exp(np.concatenate([ends[:1], middle, ends[1:]])))


def _name_layers(panel: Axes, rows: pd.DataFrame) -> None:
    names = rows.groupby("depth")["layer"].first()
    shown = names[:: -(-len(names) // MOST_NAMES)]
    panel.set_yticks(shown.index, [_short(name) for name in shown], fontsize=9)
    panel.set_ylabel("input → class scores")


def _short(name: str) -> str:
    """A kernel's name without what all kernels are called."""
    for ending in (".weight", ".kernel"):
        name = name.removesuffix(ending)
    return name


# --- all recipes at once ---
def layer_order(
    forgotten: pd.DataFrame, title: str, perturbation: Perturbation = SIGMA_W
) -> Figure:
    """What the returned model keeps of each layer's start: a panel per σw, recipes by layers.

    A full star marks the layer whose cosine falls to one half first; where none does within the
    training, a hollow one the layer that has moved furthest.

    Parameters
    ----------
    forgotten
        From `layer_memory.layer_forgetting`, of recipes with the same layers: recipe, sigma_w,
        layer, depth, order, at_best.
    title
        Above all panels.
    perturbation
        The perturbed setting, whose values the columns are.
    """
    recipes = list(dict.fromkeys(forgotten["recipe"]))
    perturbed = perturbation.name
    scales = perturbation.ordered(forgotten[perturbed])
    layers = forgotten.groupby("depth")["layer"].first()
    width = max(2.4, min(LAYER_WIDTH * len(layers), WIDEST / len(scales)))
    figure = Figure(figsize=(width * len(scales) + 3.4, 0.34 * max(len(recipes), 3) + 2.6))
    panels = figure.subplots(1, len(scales), squeeze=False, sharey=True)[0]
    for panel, scale in zip(panels, scales, strict=True):
        crowded = min(STAR, 0.65 * 72 * width / len(layers))  # so that neighbours stay apart
        _order(panel, forgotten[forgotten[perturbed] == scale], recipes, crowded)
        panel.set_title(_word(perturbation, scale))
        shown = layers[:: -(-len(layers) // MOST_NAMES)]
        panel.set_xticks(shown.index, [_short(name) for name in shown], rotation=90, fontsize=9)
    panels[0].set_yticks(range(len(recipes)), [recipe_name(name) for name in recipes], fontsize=9)
    figure.colorbar(_colours(), ax=panels, label="cosine of the returned model", extend="min")
    said = (
        "★: the first to fall to ½, or all that do within epoch 1; "
        "☆: none does, this one has moved furthest; hatched: no model"
    )
    figure.suptitle(f"{title}\n{said}", fontsize=12)
    return figure


def _order(panel: Axes, rows: pd.DataFrame, recipes: list[str], crowded: float) -> None:
    panel.set_facecolor(EMPTY)
    panel.patch.set_hatch("////")
    panel.patch.set_edgecolor("#AAAAAA")
    panel.grid(visible=False)
    panel.spines[["left", "bottom"]].set_visible(False)
    panel.tick_params(length=2)
    grid = rows.pivot(index="recipe", columns="depth", values="at_best").reindex(recipes)
    values = np.ma.masked_invalid(grid.to_numpy(dtype=np.float64))
    image = panel.imshow(values, cmap=LAYER_MAP, vmin=0, vmax=1, aspect="auto")
    for y, recipe in enumerate(recipes):
        of = rows[rows["recipe"] == recipe]
        first = of.loc[of["order"] == 1, "depth"].tolist()
        known = of[of["at_best"].notna()]
        furthest = known.sort_values("at_best")["depth"].tolist()[:1]
        marked = first or furthest
        star = STAR if len(marked) == 1 else crowded
        for depth in marked:
            x = list(grid.columns).index(depth)
            ink = "black" if np.ma.is_masked(values[y, x]) else ink_on(image.to_rgba(values[y, x]))
            filled = ink if first else "none"
            panel.plot(x, y, "*", color=ink, markersize=star, markerfacecolor=filled)


def _colours() -> ScalarMappable:
    return ScalarMappable(Normalize(0, 1), LAYER_MAP)
