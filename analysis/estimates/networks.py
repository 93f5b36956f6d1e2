"""The networks and data that recipes train: only of one network are memories comparable.

A deep network may remember three times what a shallow one does. Half of the largest memory of all
would then say that the shallow one forgets, whatever its recipe.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.estimates.overview import PhaseEstimates, estimate_phases
from analysis.estimates.recipe_labels import labels
from analysis.estimates.recipes import Recipe, find_recipes
from suite.declarations.config import NETWORK
from suite.declarations.perturbation import SIGMA_W, Perturbation


def phases_by_network(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    perturbation: Perturbation = SIGMA_W,
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, PhaseEstimates]:
    """The memory of the recipes of each network, and its boundaries.

    Parameters
    ----------
    runs, history, perturbation, seed, resamples
        As in :func:`analysis.estimates.overview.estimate_phases`.

    Returns
    -------
    dict
        What tells a network from the others ("resnet56"; empty where there is but one), to what is
        known of its recipes; the network of the most recipes first.
    """
    groups: dict[tuple[object, ...], list[Recipe]] = {}
    for recipe in find_recipes(runs, perturbation):
        key = tuple(recipe.identity.get(name) for name in NETWORK)
        groups.setdefault(key, []).append(recipe)
    found = sorted(groups.values(), key=len, reverse=True)
    names = labels([_network(recipes[0].identity) for recipes in found])
    return {
        name if len(found) > 1 else "": estimate_phases(
            *_of(recipes, runs, history), perturbation, seed=seed, resamples=resamples
        )
        for name, recipes in zip(names, found, strict=True)
    }


def _network(identity: Mapping[str, object]) -> dict[str, object]:
    return {name: identity[name] for name in NETWORK if name in identity}


def _of(
    recipes: list[Recipe], runs: pd.DataFrame, history: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of some recipes, and their epochs."""
    rows = np.concatenate([recipe.rows[recipe.rows >= 0] for recipe in recipes])
    theirs = runs.iloc[np.sort(rows)].reset_index(drop=True)
    epochs = history[history["run_id"].isin(theirs["run_id"])].reset_index(drop=True)
    epochs["run_id"] = epochs["run_id"].cat.set_categories(theirs["run_id"])
    return theirs, epochs
