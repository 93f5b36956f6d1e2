"""One experiment as the exhibits ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.claims.differences import differences, differences_text
from analysis.estimates.function_memory import function_memory
from analysis.estimates.layer_memory import layer_forgetting
from analysis.estimates.memory import memory
from analysis.estimates.norm_memory import norm_memory
from analysis.estimates.overview import Estimates, estimate
from analysis.estimates.recipes import Recipe, find_recipes, names_without, other_initials
from analysis.estimates.scale_table import by_scale, interpolation, interpolation_time
from analysis.store.frames import Store
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.perturbation import SIGMA_W, Perturbation
from suite.declarations.predictions import Predictions

SETTINGS = (
    "optimizer",
    "batch_size",
    "learning_rate",
    "kernel_l2",
    "model",
    "norm",
    "augmentation",
    "schedule",
    "epochs",
)


@dataclass(frozen=True, eq=False)
class Source:
    """The runs of an experiment, and what is estimated of them.

    Attributes
    ----------
    store
        From `store.load`.
    seed
        Decides all resampling.
    """

    store: Store
    seed: int = 0

    @property
    def experiment(self) -> str:
        """Its name in MLflow."""
        return self.store.experiment

    @property
    def perturbation(self) -> Perturbation:
        """The setting whose memory it is."""
        return self.store.perturbation

    @cached_property
    def recipes(self) -> list[Recipe]:
        """Its recipes."""
        return find_recipes(self.store.runs, self.perturbation)

    @cached_property
    def other_initials(self) -> list[Perturbation]:
        """The initial settings besides the perturbed one in which its recipes differ."""
        return other_initials(self.recipes)

    @cached_property
    def other_settings(self) -> list[str]:
        """Settings that have no column of their own in tables, and in which its recipes differ."""
        named = {*SETTINGS, *RunConfig.initials(), "seed", "dataset_digest"}
        configs = [recipe.config for recipe in self.recipes]
        values = {
            name: {getattr(config, name) for config in configs if config.acts(name)}
            for name in RunConfig.names()
            if name not in named
        }
        return [name for name, seen in values.items() if len(seen) > 1]

    @cached_property
    def by_fingerprint(self) -> Mapping[str, Recipe]:
        """Its recipes by the fingerprint they have with that and the seed at their defaults."""
        return {recipe.config.fingerprint: recipe for recipe in self.recipes}

    @cached_property
    def about(self) -> pd.DataFrame:
        """One row per recipe: recipe, family (shared with other batch sizes), its settings."""
        names = names_without(self.recipes, "batch_size")
        initials = (one.name for one in self.other_initials)
        settings = [*SETTINGS, *initials, *self.other_settings]
        return pd.DataFrame(
            [
                {"recipe": recipe.label, "family": name}
                | {setting: getattr(recipe.config, setting) for setting in settings}
                for recipe, name in zip(self.recipes, names, strict=True)
            ]
        )

    @cached_property
    def memory(self) -> pd.DataFrame:
        """`memory.memory` beside the settings."""
        found = memory(self.store.runs, recipes=self.recipes, seed=self.seed)
        return self.about.merge(found, on="recipe")

    @cached_property
    def scales(self) -> pd.DataFrame:
        """`scale_table.by_scale` beside the settings."""
        found = by_scale(self.store.runs, self.store.history, recipes=self.recipes)
        return self.about.merge(found, on="recipe")

    @cached_property
    def fitted(self) -> pd.DataFrame:
        """`scale_table.interpolation` beside the settings."""
        found = interpolation(self.store.runs, self.store.history, recipes=self.recipes)
        return self.about.merge(found, on="recipe")

    @cached_property
    def fitting_time(self) -> pd.DataFrame:
        """`interpolation_time` beside the settings."""
        return self.about.merge(
            interpolation_time(self.store.runs, recipes=self.recipes), on="recipe"
        )

    @cached_property
    def norms(self) -> pd.DataFrame:
        """`norm_memory.norm_memory` beside the settings."""
        return self.about.merge(norm_memory(self.store.runs, recipes=self.recipes), on="recipe")

    @cached_property
    def layers_forgotten(self) -> pd.DataFrame:
        """`layer_memory.layer_forgetting`, each recipe on its own clock."""
        return layer_forgetting(self.store.runs, self.store.layers, recipes=self.recipes)

    @property
    def predictions(self) -> Mapping[str, Predictions]:
        """Run id to what the returned model predicts on the test images, where it was kept."""
        return self.store.predictions.by_run

    @cached_property
    def function_memory(self) -> pd.DataFrame:
        """`function_memory.function_memory`."""
        return function_memory(self.store.runs, self.predictions, recipes=self.recipes)

    @cached_property
    def estimates(self) -> Estimates:
        """All of `phase_estimates.estimate`."""
        return estimate(self.store, seed=self.seed)

    def quantity(self, name: str) -> pd.DataFrame:
        """One of `scale_table.QUANTITIES`, one row per recipe and σw."""
        rows = self.scales[self.scales["quantity"] == name]
        return rows.drop(columns="quantity").reset_index(drop=True)

    def scale_values(self) -> list[Any]:
        """All values of the perturbed setting, in their order."""
        return self.perturbation.ordered(
            scale for recipe in self.recipes for scale in recipe.scales.tolist()
        )

    def varies(self, *settings: str) -> bool:
        """Whether any of the settings has two values."""
        return not self._varying.isdisjoint(settings)

    @cached_property
    def _varying(self) -> frozenset[str]:
        counts = self.about[list(SETTINGS)].nunique()
        return frozenset(str(name) for name in counts.index[counts > 1])

    def lines(self, name: Callable[[Mapping[str, Any]], str]) -> dict[str, str]:
        """What the line of each recipe in a figure is called, by the recipe's label.

        Parameters
        ----------
        name
            From a row of `about`. Where it calls two recipes of one optimizer and batch size the
            same, their labels tell them apart.
        """
        rows = [
            {str(key): value for key, value in row.items()} for row in self.about.to_dict("records")
        ]
        names = [name(row) for row in rows]
        panels = [
            (line, row["optimizer"], row["batch_size"])
            for line, row in zip(names, rows, strict=True)
        ]
        return {
            row["recipe"]: line if panels.count(panel) == 1 else f"{line} ({row['recipe']})"
            for line, row, panel in zip(names, rows, panels, strict=True)
        }

    def several_scales(self) -> bool:
        """Whether a recipe has runs at two σw."""
        return any(int((recipe.rows >= 0).any(1).sum()) > 1 for recipe in self.recipes)

    def at(self, scales: Iterable[Any]) -> Source:
        """All of its recipes at some perturbed values."""
        return self._part(self.near(self.store.runs, scales))

    def near(self, table: pd.DataFrame, scales: Iterable[Any]) -> NDArray[np.bool_]:
        """Which rows of a table are at some perturbed values."""
        column = table[self.perturbation.name]
        if not self.perturbation.numeric:
            return column.isin(list(scales)).to_numpy()
        return np.isin(np.round(column.to_numpy(dtype=np.float64), 9), np.round(list(scales), 9))

    def only(self, wanted: Callable[[Recipe], bool]) -> Source | None:
        """Some of its recipes; None where it has none of them."""
        keep = np.zeros(len(self.store.runs), dtype=np.bool_)
        for recipe in self.recipes:
            if wanted(recipe):
                keep[recipe.rows[recipe.rows >= 0]] = True
        return self._part(keep) if keep.any() else None

    def like(self, configs: Iterable[RunConfig], scales: Iterable[Any]) -> Source | None:
        """Its runs of given recipes at some perturbed values; None where there are none."""
        wanted = {config.fingerprint for config in configs}
        found = self.only(lambda recipe: recipe.config.fingerprint in wanted)
        part = None if found is None else found.at(scales)
        return None if part is None or part.store.runs.empty else part

    def _part(self, keep: NDArray[np.bool_]) -> Source:
        runs = self.store.runs[keep].reset_index(drop=True)
        return Source(replace(self.store, runs=runs), self.seed)


def declared_recipes(
    experiment: Experiment, perturbed: Perturbation = SIGMA_W
) -> dict[str, RunConfig]:
    """The recipes of an experiment by fingerprint, with that and the seed at their defaults."""
    apart = (perturbed.name, "seed")
    axes = {name: values for name, values in experiment.axes.items() if name not in apart}
    recipes = replace(experiment, axes=axes)
    return {config.fingerprint: config for config in recipes.configs()}


def differing(source: Source, experiment: str) -> list[str]:
    """How recipes differ from those that an experiment of the suite declares, one text for each.

    Recipes that are declared are left out.
    """
    declared = declared_recipes(EXPERIMENTS[experiment], source.perturbation)
    texts = []
    for fingerprint, recipe in source.by_fingerprint.items():
        if fingerprint not in declared:
            found = (differences(paper, recipe.config) for paper in declared.values())
            texts.append(differences_text(min(found, key=len)))
    return texts
