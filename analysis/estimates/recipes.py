"""The recipes of a store: each is one value of every setting but the perturbed one and the seed.

Everything that is estimated is estimated inside a recipe, from an array over the values of the
perturbed setting and the seeds. That setting is σw, or another one that acts before the first step
only: what the texts of this package say of σw holds for it, and its columns have its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipe_labels import labels, sort_key
from suite.declarations.config import ConfigError, RunConfig, parse
from suite.declarations.perturbation import SIGMA_W, Perturbation, perturbation


@dataclass(frozen=True, eq=False)
class Recipe:
    """The runs of one recipe.

    Attributes
    ----------
    label
        Short name, unique among the recipes found together.
    config
        Its settings, with the perturbed one and the seed at their defaults.
    train_images
        Images in its training split.
    scales
        Its values of the perturbed setting, shape (S,): its σw, ascending; of categories their
        names, in the order of their declaration.
    seeds
        Its seeds, ascending, shape (G,).
    rows
        Position of each run in the runs frame, shape (S, G); −1 where there is no run.
    diverged
        Which runs diverged, shape (S, G).
    perturbation
        The perturbed setting.
    """

    label: str
    config: RunConfig
    train_images: int
    scales: NDArray[Any]
    seeds: NDArray[np.int64]
    rows: NDArray[np.intp]
    diverged: NDArray[np.bool_]
    perturbation: Perturbation = SIGMA_W

    @property
    def identity(self) -> dict[str, Any]:
        """What its runs share: the settings that act, without the perturbed one and the seed."""
        return self.config.recipe_of(self.perturbation.name)

    @property
    def doses(self) -> NDArray[np.float64]:
        """Its values of the perturbed setting as numbers, shape (S,).

        Raises
        ------
        TypeError
            If they are categories, which have no distances that a slope could be taken over.
        """
        if not self.perturbation.numeric:
            raise TypeError(f"{self.perturbation.name} has categories, and no slope on them")
        return np.asarray(self.scales, dtype=np.float64)

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


def find_recipes(runs: pd.DataFrame, perturbation: Perturbation = SIGMA_W) -> list[Recipe]:
    """The recipes of a runs frame, in a stable order (by optimizer, rate, λ, batch size, …).

    Parameters
    ----------
    runs
        One row per finished run of a configuration, with every setting of `RunConfig`, `diverged`
        and `train_images`.
    perturbation
        The perturbed setting.

    Raises
    ------
    ConfigError
        Where the runs of a recipe were trained on different numbers of images.
    """
    apart = (perturbation.name, "seed")
    settings = [name for name in RunConfig.names() if name not in apart]
    groups: dict[str, tuple[RunConfig, list[NDArray[np.intp]]]] = {}
    for rows in runs.groupby(settings, sort=False, dropna=False).indices.values():
        # Rows that differ in a setting that does not act in them are of one recipe.
        config = _config(runs.iloc[int(rows[0])], settings, perturbation.name)
        groups.setdefault(config.fingerprint, (config, []))[1].append(np.asarray(rows))
    found = sorted(groups.values(), key=lambda group: sort_key(group[0].identity()))
    names = labels([config.recipe_of(perturbation.name) for config, _ in found])
    return [
        _recipe(name, config, runs, np.sort(np.concatenate(parts)), perturbation)
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
        {name: value for name, value in recipe.identity.items() if name not in settings}
        for recipe in recipes
    ]
    different: list[dict[str, Any]] = []
    for identity in rest:
        if identity not in different:
            different.append(identity)
    names = labels(different)
    return [names[different.index(identity)] for identity in rest]


def other_initials(recipes: Sequence[Recipe]) -> list[Perturbation]:
    """The initial settings besides the perturbed one in which recipes differ."""
    values = {
        name: {recipe.identity.get(name) for recipe in recipes} for name in RunConfig.initials()
    }
    return [perturbation(name) for name, seen in values.items() if len(seen) > 1]


def _config(row: pd.Series[Any], settings: Sequence[str], perturbed: str) -> RunConfig:
    default = RunConfig.default(perturbed)
    # What acts only with another value of the perturbed setting goes with it.
    values = {
        name: row[name]
        for name in settings
        if default in RunConfig.conditions().get(name, {}).get(perturbed, (default,))
    }
    return parse({name: getattr(v, "item", lambda v=v: v)() for name, v in values.items()})


def _recipe(
    label: str,
    config: RunConfig,
    runs: pd.DataFrame,
    members: NDArray[np.intp],
    perturbation: Perturbation,
) -> Recipe:
    part = runs.iloc[members]
    given = part[perturbation.name]
    values = perturbation.ordered(given.tolist())
    scale = given.map({value: place for place, value in enumerate(values)}).to_numpy(dtype=np.intp)
    scales = np.array(values, dtype=np.float64 if perturbation.numeric else object)
    seeds, seed = np.unique(part["seed"].to_numpy(dtype=np.int64), return_inverse=True)
    rows = np.full((scales.size, seeds.size), -1, dtype=np.intp)
    rows[scale, seed] = members
    if (rows >= 0).sum() != len(members):
        raise ConfigError(
            f"{perturbation.name}: one run for each value and seed, got several in recipe "
            f"{label!r}, which differ in what acts with it alone; keep the runs of one of them"
        )
    diverged = np.zeros(rows.shape, dtype=np.bool_)
    diverged[scale, seed] = part["diverged"].to_numpy(dtype=np.bool_)
    images = part["train_images"].unique()
    if len(images) != 1:
        raise ConfigError(
            f"train_images: one training split per recipe, got {sorted(images.tolist())} in recipe "
            f"{label!r}; keep the runs of one data set"
        )
    return Recipe(label, config, int(images[0]), scales, seeds, rows, diverged, perturbation)
