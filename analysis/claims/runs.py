"""The runs that a claim is about, or what is missing of them.

The settings must be the paper's exactly: runs count only where their whole configuration is that of
the recipe. Only seeds with a run at every σw go in, so that no σw is judged on other seeds. A
diverged run is a run: it goes in with the model it returns (`analysis.estimates.returned`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.claims.differences import differences, differences_text
from analysis.claims.recipes import DeclaredRecipe
from analysis.estimates.histories import epoch_matrix
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.returned import with_last_held
from analysis.estimates.scale_table import per_run
from analysis.store.frames import Store

Floats = NDArray[np.float64]
MOST_LOST = 0.25  # of the runs; beyond that, those that have a quantity are no fair sample


@dataclass(frozen=True)
class Gap:
    """Why a recipe cannot be judged.

    Attributes
    ----------
    trainable
        Whether more runs would help.
    absent
        Whether its experiment is not there at all.
    """

    recipe: DeclaredRecipe
    reason: str
    trainable: bool = True
    absent: bool = False


class ExperimentRuns:
    """The runs of one experiment, and what is computed of them once for all claims."""

    def __init__(self, store: Store) -> None:
        self.runs = store.runs
        self.history = store.history

    @cached_property
    def recipes(self) -> Mapping[str, Recipe]:
        """Its recipes, by the fingerprint they have with σw and the seed at their defaults."""
        return {one.config.fingerprint: one for one in find_recipes(self.runs)}

    @cached_property
    def per_run(self) -> Mapping[str, Floats]:
        """Every quantity of a run, each of shape (runs,)."""
        found = per_run(self.runs, self.history)
        late = found["best_epoch"] - self.runs["interpolation_epoch"].to_numpy(dtype=np.float64)
        return found | {
            "best_minus_interpolation": late,
            "interpolation_epoch": self.runs["interpolation_epoch"].to_numpy(dtype=np.float64),
        }

    @cached_property
    def val_accuracy(self) -> Floats:
        """Validation accuracy, shape (runs, epochs)."""
        measured = epoch_matrix(self.runs, self.history, "val_accuracy")
        return with_last_held(measured, self.runs)


@dataclass(frozen=True, eq=False)
class Sample:
    """The runs of one recipe that go into an estimate.

    Attributes
    ----------
    rows
        Position of each run among those of its experiment, shape (σw, seeds), without gaps.
    seeds
        Shape (seeds,), ascending.
    diverged
        How many of these runs diverged.
    """

    recipe: DeclaredRecipe
    experiment: ExperimentRuns
    rows: NDArray[np.intp]
    seeds: NDArray[np.int64]
    diverged: int

    @property
    def scales(self) -> Floats:
        """Its σw, shape (σw,)."""
        return np.array(self.recipe.scales)

    def values(self, name: str) -> Floats:
        """A quantity of each run, shape (σw, seeds)."""
        return np.asarray(self.experiment.per_run[name][self.rows], dtype=np.float64)

    def column(self, name: str) -> Floats:
        """A column of the runs frame, shape (σw, seeds)."""
        return np.asarray(self.experiment.runs[name].to_numpy(dtype=np.float64)[self.rows])

    def val_accuracy(self) -> Floats:
        """Validation accuracy, shape (σw, seeds, epochs)."""
        return np.asarray(self.experiment.val_accuracy[self.rows], dtype=np.float64)

    def only(self, seeds: NDArray[np.int64]) -> Sample:
        """The sample without the runs of all other seeds."""
        kept = np.isin(self.seeds, seeds)
        return replace(self, rows=self.rows[:, kept], seeds=self.seeds[kept])


def sample(
    experiments: Mapping[str, ExperimentRuns], recipe: DeclaredRecipe, fewest: int
) -> Sample | Gap:
    """The runs of a recipe, or what is missing for at least `fewest` seeds at every σw."""
    experiment = experiments.get(recipe.experiment)
    if experiment is None:
        return Gap(recipe, f"needs experiment {recipe.experiment}", absent=True)
    found = experiment.recipes.get(recipe.config.fingerprint)
    if found is None:
        return Gap(recipe, _no_runs(experiment, recipe))
    place = {round(scale, 9): s for s, scale in enumerate(found.scales.tolist())}
    absent = [scale for scale in recipe.scales if round(scale, 9) not in place]
    if absent:
        of = f"{len(absent)} of {len(recipe.scales)} σw without a run"
        return Gap(recipe, f"{recipe.label}: {of} ({_some(absent)})")
    scales = [place[round(s, 9)] for s in recipe.scales]
    return _complete(experiment, recipe, found, scales, fewest)


def _complete(
    experiment: ExperimentRuns,
    recipe: DeclaredRecipe,
    found: Recipe,
    scales: Sequence[int],
    fewest: int,
) -> Sample | Gap:
    rows = found.rows[scales]
    finished = (rows >= 0).all(0)
    if finished.sum() < fewest:
        return Gap(recipe, f"{recipe.label}: {int(finished.sum())} of {fewest} seeds at every σw")
    diverged = int(found.diverged[scales][:, finished].sum())
    return Sample(recipe, experiment, rows[:, finished], found.seeds[finished], diverged)


def _no_runs(experiment: ExperimentRuns, recipe: DeclaredRecipe) -> str:
    """What is nearest among the runs, where none has the recipe."""
    nearest = min(
        (differences(recipe.config, other.config) for other in experiment.recipes.values()),
        key=len,
        default={},
    )
    foreign = {name: values for name, values in nearest.items() if name not in recipe.varied}
    if not foreign:
        return f"no run of {recipe.label}"
    return f"not the paper's recipe: {differences_text(foreign)}"


def _some(scales: Sequence[float]) -> str:
    shown = ", ".join(f"{scale:g}" for scale in scales[:3])
    return shown + (", …" if len(scales) > 3 else "")


def common_seeds(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """The seeds that all samples have."""
    seeds = pd.Index(samples[0].seeds)
    for other in samples[1:]:
        seeds = seeds.intersection(pd.Index(other.seeds))
    return np.sort(seeds.to_numpy(dtype=np.int64))
