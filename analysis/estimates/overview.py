"""All that the phase diagram of an experiment shows, as frames: one row a recipe, σw, or epoch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.estimates.boundary import boundaries, seed_deviations
from analysis.estimates.clock_axis import CLOCKS, clock_frame, own_clock, recipe_axes
from analysis.estimates.collapse import collapse
from analysis.estimates.memory import memory
from analysis.estimates.memory_level import half_of_largest
from analysis.estimates.recipes import Recipe, find_recipes, names_without
from analysis.estimates.scale_table import by_scale, interpolation
from analysis.estimates.sensitivity import curves, sensitivity
from analysis.store.frames import Store
from suite.declarations.perturbation import SIGMA_W, Perturbation


@dataclass(frozen=True)
class PhaseEstimates:
    """The memory of recipes, and where on the clocks it is lost.

    Attributes
    ----------
    perturbation
        The setting whose memory it is.
    recipes
        One row per recipe: recipe (its label), family (shared by recipes that differ in batch size
        alone) and facet (by those that differ in batch size and learning rate alone); optimizer,
        learning_rate, kernel_l2, batch_size; T_SGD, T_L2, T_adapt at the end of its training;
        own_clock; the columns of `memory.memory`; reached and censored (runs that did, or did not,
        reach τ_interp); verdict (see `verdict`).
    level
        Memory that tells remembering from forgetting; NaN where none is above its noise.
    boundaries
        As from `phase_boundary.boundaries`.
    """

    recipes: pd.DataFrame
    level: float
    boundaries: pd.DataFrame
    perturbation: Perturbation = field(default=SIGMA_W, kw_only=True)

    @property
    def memory_known(self) -> bool:
        """Whether any recipe has runs at two σw."""
        return bool(self.recipes["memory"].notna().any())


@dataclass(frozen=True)
class Estimates(PhaseEstimates):
    """What is known of the recipes of an experiment, beside where memory is lost.

    Attributes
    ----------
    scales
        One row per recipe and σw: the columns naming the recipe; sigma_w (or the setting that is
        perturbed in its place); n, mean, p10, p90 of test
        accuracy; train_accuracy_best, fitted_at_best, diverged; memory of the recipe.
    betas
        The columns of `sensitivity.sensitivity` and of `clock_axis.clock_frame`, with those naming
        the recipe, own_clock, and floor_smooth (the floor's root mean square over neighbouring
        epochs). Empty where the perturbed setting has categories, on which there is no slope.
    collapses
        Family beside the columns of `collapse.collapse`, on the epochs and on the family's own
        clock; empty where no two recipes differ in their batch size alone, and without `betas`.
    """

    scales: pd.DataFrame
    betas: pd.DataFrame
    collapses: pd.DataFrame

    @property
    def plane_varies(self) -> bool:
        """Whether there is more than one learning rate or batch size."""
        return bool((self.recipes[["learning_rate", "batch_size"]].nunique() > 1).any())


ABOUT = ["recipe", "family", "facet", "optimizer", "learning_rate", "kernel_l2", "batch_size"]

MEASURED = ["quality", "quality_low", "quality_high", "distance"]


def estimate(store: Store, *, seed: int = 0, resamples: int = 1000) -> Estimates:
    """Estimate all of an experiment that its finished runs allow.

    Parameters
    ----------
    store
        From `store.load`, with the setting whose memory is asked for.
    seed
        Decides all resampling.
    resamples
        Bootstrap samples of the boundaries.
    """
    perturbation = store.perturbation
    recipes = find_recipes(store.runs, perturbation)
    fitted = interpolation(store.runs, store.history, recipes=recipes)
    phases = _phases(store.runs, recipes, fitted, seed, resamples)
    return Estimates(
        perturbation=perturbation,
        recipes=phases.recipes,
        level=phases.level,
        boundaries=phases.boundaries,
        scales=_scales(store, recipes, phases.recipes, fitted),
        betas=_betas(store, recipes, phases.recipes),
        collapses=_collapses(store, recipes, phases.recipes, seed),
    )


def estimate_phases(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    perturbation: Perturbation = SIGMA_W,
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> PhaseEstimates:
    """Estimate the memory of all recipes among runs, and its boundaries, and nothing else.

    Parameters
    ----------
    runs, history
        Frames of a store, or of several in one (`analysis.store.pooled`).
    perturbation
        The setting whose memory is asked for.
    seed, resamples
        As in `estimate`.
    """
    recipes = find_recipes(runs, perturbation)
    fitted = interpolation(runs, history, recipes=recipes)
    return _phases(runs, recipes, fitted, seed, resamples)


def _phases(
    runs: pd.DataFrame,
    recipes: Sequence[Recipe],
    fitted: pd.DataFrame,
    seed: int,
    resamples: int,
) -> PhaseEstimates:
    table = memory(runs, recipes=recipes, seed=seed)
    # Where training fails at some σw, memory is of failure: no measure for the others.
    trains = table["scales_failed"].to_numpy() == 0
    level = half_of_largest(table[trains])
    counts = fitted.groupby("recipe", sort=False)[["reached", "censored"]].sum().reset_index()
    about = _about(recipes, runs).merge(table, on="recipe").merge(counts, on="recipe")
    about["verdict"] = [
        verdict(low, high, level) if here else "fails"
        for low, high, here in zip(table["low"], table["high"], trains, strict=True)
    ]
    deviations = seed_deviations(runs, recipes)
    found = boundaries(about[trains], deviations[trains], level, seed=seed, resamples=resamples)
    return PhaseEstimates(about, level, found, perturbation=recipes[0].perturbation)


def verdict(low: float, high: float, level: float) -> str:
    """One word for a recipe, from the interval of its memory.

    Returns
    -------
    str
        'remembers' or 'forgets' where all of the interval is above or below the level, 'between'
        where it holds the level, 'unknown' without an interval. Where no memory is above its noise
        once all recipes are asked (level NaN): 'no level'.
    """
    if math.isnan(low) or math.isnan(high):
        return "unknown"
    if math.isnan(level):
        return "no level"
    if low > level:
        return "remembers"
    return "forgets" if high < level else "between"


def _about(recipes: Sequence[Recipe], runs: pd.DataFrame) -> pd.DataFrame:
    trained = runs["epochs_trained"].to_numpy(dtype=np.float64)
    rows = []
    names = zip(
        recipes,
        names_without(recipes, "batch_size"),
        names_without(recipes, "batch_size", "learning_rate"),
        strict=True,
    )
    for recipe, family, facet in names:
        config = recipe.config
        lasted = recipe.pivot(trained)
        # Early stopping ends the runs of a recipe at different epochs; where all diverged, the
        # clock at the planned end names the recipe.
        last = int(np.nanmedian(lasted)) if np.isfinite(lasted).any() else config.epochs
        ends = {clock: recipe_axes(recipe)[clock][last - 1] for clock in CLOCKS}
        named = {"recipe": recipe.label, "family": family, "facet": facet}
        settings = {name: getattr(config, name) for name in ABOUT[3:]}
        rows.append(named | settings | ends | {"own_clock": own_clock(config)})
    return pd.DataFrame(rows)


def _scales(
    store: Store, recipes: Sequence[Recipe], about: pd.DataFrame, fitted: pd.DataFrame
) -> pd.DataFrame:
    table = by_scale(store.runs, store.history, recipes=recipes)
    table = table[table["quantity"] == "test_accuracy"].drop(columns="quantity")
    place = ["recipe", store.perturbation.name]
    train = fitted[[*place, "train_accuracy_best", "fitted_at_best"]]
    known = about[[*ABOUT, "memory"]]
    return table.merge(train, on=place).merge(known, on="recipe")


def _betas(store: Store, recipes: Sequence[Recipe], about: pd.DataFrame) -> pd.DataFrame:
    if not store.perturbation.numeric:
        return pd.DataFrame(columns=[*ABOUT, "own_clock", "epoch", *CLOCKS, "beta"])
    table = sensitivity(store.runs, store.history, recipes=recipes)
    clocks = clock_frame(store.runs, recipes=recipes)
    # An error that is estimated from few seeds at one epoch scatters by itself.
    table["floor_smooth"] = table.groupby("recipe", sort=False)["floor"].transform(
        lambda floor: np.sqrt(
            (floor**2).rolling(max(5, len(floor) // 8), center=True, min_periods=1).mean()
        )
    )
    known = about[[*ABOUT, "own_clock"]]
    return table.merge(clocks, on=["recipe", "epoch"]).merge(known, on="recipe")


def _collapses(
    store: Store, recipes: Sequence[Recipe], about: pd.DataFrame, seed: int
) -> pd.DataFrame:
    none = pd.DataFrame(columns=["family", "axis", "verdict", *MEASURED])
    if not store.perturbation.numeric:
        return none
    groups = defaultdict(list)
    for one, family in zip(
        curves(store.runs, store.history, recipes=recipes), about["family"], strict=True
    ):
        groups[family].append(one)
    parts = []
    for family, group in groups.items():
        if len(group) > 1:
            whole = collapse(group, seed=seed)
            wanted = whole["axis"].isin(["epoch", own_clock(group[0].recipe.config)])
            parts.append(whole[wanted].assign(family=family))
    if not parts:
        return none
    whole = pd.concat(parts, ignore_index=True)
    # Where every answer is 'undetermined', nothing was measured.
    return whole.reindex(columns=[*whole, *(name for name in MEASURED if name not in whole)])
