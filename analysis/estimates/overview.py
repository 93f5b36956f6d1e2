"""All that the phase diagram of an experiment shows, as frames: one row a recipe, σw, or epoch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.estimates.boundary import boundaries, half_of_largest, seed_deviations
from analysis.estimates.clock_axis import CLOCKS, cell_axes, clock_frame, own_clock
from analysis.estimates.collapse import collapse
from analysis.estimates.memory import memory
from analysis.estimates.recipe_labels import labels
from analysis.estimates.recipes import WITHIN, Cell, find_cells
from analysis.estimates.scale_table import by_scale, interpolation
from analysis.estimates.sensitivity import curves, sensitivity
from analysis.store.frames import Store


@dataclass(frozen=True)
class Estimates:
    """What is known of the recipes of an experiment.

    Attributes
    ----------
    recipes
        One row per cell: cell (its label); recipe (the label without the batch size) and facet
        (nor the learning rate); optimizer, learning_rate, kernel_l2, batch_size; T_SGD, T_L2,
        T_adapt at the end of its training; own_clock; the columns of `memory.memory`; reached and
        censored (runs that did, or did not, reach τ_interp); verdict (see `verdict`).
    scales
        One row per cell and σw: the columns naming the recipe; sigma_w; n, mean, p10, p90 of test
        accuracy; train_accuracy_best, fitted_at_best, diverged; memory of the cell.
    level
        Memory that tells remembering from forgetting; NaN where none is above its noise.
    boundaries
        As from `phase_boundary.boundaries`.
    betas
        The columns of `sensitivity.sensitivity` and of `clock_axis.clock_frame`, with those naming
        the recipe, own_clock, and floor_smooth (the floor's root mean square over neighbouring
        epochs).
    collapses
        Recipe beside the columns of `collapse.collapse`, on the epochs and on the recipe's own
        clock; empty where no two cells differ in their batch size alone.
    """

    recipes: pd.DataFrame
    scales: pd.DataFrame
    level: float
    boundaries: pd.DataFrame
    betas: pd.DataFrame
    collapses: pd.DataFrame

    @property
    def memory_known(self) -> bool:
        """Whether any recipe has runs at two σw."""
        return bool(self.recipes["memory"].notna().any())

    @property
    def plane_varies(self) -> bool:
        """Whether there is more than one learning rate or batch size."""
        return bool((self.recipes[["learning_rate", "batch_size"]].nunique() > 1).any())


ABOUT = ["cell", "recipe", "facet", "optimizer", "learning_rate", "kernel_l2", "batch_size"]

MEASURED = ["quality", "quality_low", "quality_high"]


def estimate(store: Store, *, seed: int = 0, resamples: int = 1000) -> Estimates:
    """Estimate all of an experiment that its finished runs allow.

    Parameters
    ----------
    store
        From `store.load`.
    seed
        Decides all resampling.
    resamples
        Bootstrap samples of the boundaries.
    """
    runs, history = store.runs, store.history
    cells = find_cells(runs)
    table = memory(runs, cells=cells, seed=seed)
    level = half_of_largest(table)
    fitted = interpolation(runs, history, cells=cells)
    counts = fitted.groupby("cell", sort=False)[["reached", "censored"]].sum().reset_index()
    recipes = _about(cells, runs).merge(table, on="cell").merge(counts, on="cell")
    recipes["verdict"] = [
        verdict(low, high, level) for low, high in zip(table["low"], table["high"], strict=True)
    ]
    found = boundaries(
        recipes, seed_deviations(runs, cells, table), level, seed=seed, resamples=resamples
    )
    return Estimates(
        recipes=recipes,
        scales=_scales(store, cells, recipes, fitted),
        level=level,
        boundaries=found,
        betas=_betas(store, cells, recipes),
        collapses=_collapses(store, cells, recipes, seed),
    )


def verdict(low: float, high: float, level: float) -> str:
    """One word for a recipe, from the interval of its memory.

    Returns
    -------
    str
        'remembers' or 'forgets' where all of the interval is above or below the level, 'between'
        where it holds the level, 'unknown' without an interval. Where no memory is above its noise
        (level NaN): 'none seen'.
    """
    if math.isnan(low) or math.isnan(high):
        return "unknown"
    if math.isnan(level):
        return "none seen"
    if low > level:
        return "remembers"
    return "forgets" if high < level else "between"


def names_without(cells: Sequence[Cell], *settings: str) -> list[str]:
    """Each cell's label when these settings are ignored; cells that agree in all else share it."""
    hidden = (*WITHIN, *settings)
    seen = [
        {name: value for name, value in cell.config.identity().items() if name not in hidden}
        for cell in cells
    ]
    different: list[dict[str, object]] = []
    for identity in seen:
        if identity not in different:
            different.append(identity)
    names = labels(different)
    return [names[different.index(identity)] for identity in seen]


def _about(cells: Sequence[Cell], runs: pd.DataFrame) -> pd.DataFrame:
    trained = runs["epochs_trained"].to_numpy(dtype=np.float64)
    rows = []
    names = zip(
        cells,
        names_without(cells, "batch_size"),
        names_without(cells, "batch_size", "learning_rate"),
        strict=True,
    )
    for cell, recipe, facet in names:
        config = cell.config
        lasted = cell.pivot(trained)
        # Early stopping ends the runs of a recipe at different epochs; where all diverged, the
        # clock at the planned end names the recipe.
        last = int(np.nanmedian(lasted)) if np.isfinite(lasted).any() else config.epochs
        ends = {clock: cell_axes(cell)[clock][last - 1] for clock in CLOCKS}
        named = {"cell": cell.label, "recipe": recipe, "facet": facet}
        settings = {name: getattr(config, name) for name in ABOUT[3:]}
        rows.append(named | settings | ends | {"own_clock": own_clock(config)})
    return pd.DataFrame(rows)


def _scales(
    store: Store, cells: Sequence[Cell], recipes: pd.DataFrame, fitted: pd.DataFrame
) -> pd.DataFrame:
    table = by_scale(store.runs, store.history, cells=cells)
    table = table[table["quantity"] == "test_accuracy"].drop(columns="quantity")
    train = fitted[["cell", "sigma_w", "train_accuracy_best", "fitted_at_best"]]
    about = recipes[[*ABOUT, "memory"]]
    return table.merge(train, on=["cell", "sigma_w"]).merge(about, on="cell")


def _betas(store: Store, cells: Sequence[Cell], recipes: pd.DataFrame) -> pd.DataFrame:
    table = sensitivity(store.runs, store.history, cells=cells)
    clocks = clock_frame(store.runs, cells=cells)
    # An error that is estimated from few seeds at one epoch scatters by itself.
    table["floor_smooth"] = table.groupby("cell", sort=False)["floor"].transform(
        lambda floor: np.sqrt(
            (floor**2).rolling(max(5, len(floor) // 8), center=True, min_periods=1).mean()
        )
    )
    about = recipes[[*ABOUT, "own_clock"]]
    return table.merge(clocks, on=["cell", "epoch"]).merge(about, on="cell")


def _collapses(
    store: Store, cells: Sequence[Cell], recipes: pd.DataFrame, seed: int
) -> pd.DataFrame:
    groups = defaultdict(list)
    for one, recipe in zip(
        curves(store.runs, store.history, cells=cells), recipes["recipe"], strict=True
    ):
        groups[recipe].append(one)
    parts = []
    for recipe, group in groups.items():
        if len(group) > 1:
            whole = collapse(group, seed=seed)
            wanted = whole["axis"].isin(["epoch", own_clock(group[0].cell.config)])
            parts.append(whole[wanted].assign(recipe=recipe))
    if not parts:
        return pd.DataFrame(columns=["recipe", "axis", "verdict", *MEASURED])
    whole = pd.concat(parts, ignore_index=True)
    # Where every answer is 'undetermined', nothing was measured.
    return whole.reindex(columns=[*whole, *(name for name in MEASURED if name not in whole)])
