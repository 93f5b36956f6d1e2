"""The recipes of a store: each is one value of every setting but σw and the seed.

Everything that is estimated is estimated inside a recipe, from an array over its σw and its seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipe_labels import labels, sort_key
from suite.declarations.config import PERTURBED, ConfigError, RunConfig, parse

SETTINGS = tuple(name for name in RunConfig.names() if name not in PERTURBED)


@dataclass(frozen=True, eq=False)
class Recipe:
    """The runs of one recipe.

    Attributes
    ----------
    label
        Short name, unique among the recipes found together.
    config
        Its settings, with σw and the seed at their defaults.
    train_images
        Images in its training split.
    scales
        Its σw, ascending, shape (S,).
    seeds
        Its seeds, ascending, shape (G,).
    rows
        Position of each run in the runs frame, shape (S, G); −1 where there is no run.
    diverged
        Which runs diverged, shape (S, G).
    """

    label: str
    config: RunConfig
    train_images: int
    scales: NDArray[np.float64]
    seeds: NDArray[np.int64]
    rows: NDArray[np.intp]
    diverged: NDArray[np.bool_]

    @property
    def finished(self) -> int:
        """Finished runs, diverged ones included."""
        return int((self.rows >= 0).sum())

    @property
    def diverged_count(self) -> int:
        """Finished runs that diverged."""
        return int(self.diverged.sum())

    def pivot(self, values: NDArray[np.float64], *, survivors: bool = False) -> NDArray[np.float64]:
        """Values of all runs, arranged by this recipe's σw and seeds.

        Parameters
        ----------
        values
            One row per run of the runs frame: shape (runs,) or (runs, epochs).
        survivors
            Whether diverged runs count as missing. By default they do not: their failure is a
            result of the recipe.

        Returns
        -------
        ndarray of shape (S, G) or (S, G, epochs)
            NaN where there is no run.
        """
        arranged = np.array(values[self.rows], dtype=np.float64)
        arranged[self.rows < 0] = np.nan
        if survivors:
            arranged[self.diverged] = np.nan
        return arranged


def find_recipes(runs: pd.DataFrame) -> list[Recipe]:
    """The recipes of a runs frame, in a stable order (by optimizer, rate, λ, batch size, …).

    Parameters
    ----------
    runs
        One row per finished run of a configuration, with every setting of `RunConfig`, `diverged`
        and `train_images`.

    Raises
    ------
    ConfigError
        Where the runs of a recipe were trained on different numbers of images.
    """
    groups: dict[str, tuple[RunConfig, list[NDArray[np.intp]]]] = {}
    for rows in runs.groupby(list(SETTINGS), sort=False, dropna=False).indices.values():
        # Rows that differ in a setting that does not act in them are of one recipe.
        config = _config(runs.iloc[int(rows[0])])
        groups.setdefault(config.fingerprint, (config, []))[1].append(np.asarray(rows))
    found = sorted(groups.values(), key=lambda group: sort_key(group[0].identity()))
    names = labels([config.recipe for config, _ in found])
    return [
        _recipe(name, config, runs, np.sort(np.concatenate(parts)))
        for name, (config, parts) in zip(names, found, strict=True)
    ]


def names_without(recipes: Sequence[Recipe], *settings: str) -> list[str]:
    """What each recipe is called when some settings are ignored.

    Returns
    -------
    list of str
        One name per recipe. Two recipes have the same name exactly if they agree in all other
        settings that act.
    """
    rest = [
        {name: value for name, value in recipe.config.recipe.items() if name not in settings}
        for recipe in recipes
    ]
    different: list[dict[str, Any]] = []
    for identity in rest:
        if identity not in different:
            different.append(identity)
    names = labels(different)
    return [names[different.index(identity)] for identity in rest]


def _config(row: pd.Series[Any]) -> RunConfig:
    settings = {name: row[name] for name in SETTINGS}
    return parse({name: getattr(v, "item", lambda v=v: v)() for name, v in settings.items()})


def _recipe(label: str, config: RunConfig, runs: pd.DataFrame, members: NDArray[np.intp]) -> Recipe:
    part = runs.iloc[members]
    scales, scale = np.unique(part["sigma_w"].to_numpy(dtype=np.float64), return_inverse=True)
    seeds, seed = np.unique(part["seed"].to_numpy(dtype=np.int64), return_inverse=True)
    rows = np.full((scales.size, seeds.size), -1, dtype=np.intp)
    rows[scale, seed] = members
    diverged = np.zeros(rows.shape, dtype=np.bool_)
    diverged[scale, seed] = part["diverged"].to_numpy(dtype=np.bool_)
    images = part["train_images"].unique()
    if len(images) != 1:
        raise ConfigError(
            f"train_images: one training split per recipe, got {sorted(images.tolist())} in recipe "
            f"{label!r}; keep the runs of one data set"
        )
    return Recipe(label, config, int(images[0]), scales, seeds, rows, diverged)
