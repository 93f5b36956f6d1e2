"""The predictors that a recipe returns: what each says of every test image, by perturbed setting.

A run that returns no model, as it diverged before it had a checkpoint, is a guess: it takes each of
K classes with probability 1/K, agrees with any other predictor on 1/K of the images, and so it
enters, as its accuracy does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipes import Recipe
from suite.basics.settings import ConfigError
from suite.declarations.predictions import Predictions

Floats = NDArray[np.float64]
GUESS = -1  # in place of a class


@dataclass(frozen=True, eq=False)
class Predictors:
    """The returned predictors of one recipe, whole: every seed has one at every value.

    Attributes
    ----------
    values
        Of the perturbed setting, shape (S,).
    seeds
        Shape (G,).
    predicted
        Class of each image, or GUESS; int32, shape (S, G, N).
    labels
        Shape (N,).
    classes
        How many there are, K.
    """

    values: NDArray[np.generic]
    seeds: NDArray[np.int64]
    predicted: NDArray[np.int32]
    labels: NDArray[np.int32]
    classes: int

    @property
    def right(self) -> Floats:
        """1 where an image's label is predicted, 0 where not, 1/K for a guess; (S, G, N)."""
        hit = (self.predicted == self.labels).astype(np.float64)
        return np.where(self.predicted == GUESS, 1 / self.classes, hit)

    @property
    def guesses(self) -> int:
        """How many of them are guesses."""
        return int((self.predicted[:, :, 0] == GUESS).sum())


def predictors_of(
    recipe: Recipe, runs: pd.DataFrame, kept: Mapping[str, Predictions]
) -> Predictors | None:
    """The predictors of a recipe; None where none is kept, or no seed has all of them.

    Parameters
    ----------
    recipe
        From `find_recipes(runs)`.
    runs
        The runs frame of a store.
    kept
        Run id to predictions.

    Raises
    ------
    ConfigError
        Where its runs were tested on different images.
    """
    run_ids = runs["run_id"].to_numpy()
    none = runs["diverged"].to_numpy(dtype=np.bool_) & runs["test_accuracy"].isna().to_numpy()
    found = {
        place: kept[run_ids[row]]
        for place, row in np.ndenumerate(recipe.rows)
        if row >= 0 and run_ids[row] in kept
    }
    if not found:
        return None
    sets = sorted({one.test_set for one in found.values()})
    if len(sets) > 1:
        raise ConfigError(
            f"predictions: one test set per recipe, got {', '.join(sets)} in recipe "
            f"{recipe.label!r}; keep the runs of one data set"
        )
    first = next(iter(found.values()))
    guess = np.full(first.labels.size, GUESS, dtype=np.int32)
    there = np.array(
        [
            [
                (s, g) in found or (recipe.rows[s, g] >= 0 and bool(none[recipe.rows[s, g]]))
                for g in range(recipe.seeds.size)
            ]
            for s in range(recipe.scales.size)
        ]
    )
    whole = np.flatnonzero(there.all(0))
    if not whole.size:
        return None
    predicted = np.stack(
        [
            [found[s, g].predicted.astype(np.int32) if (s, g) in found else guess for g in whole]
            for s in range(recipe.scales.size)
        ]
    )
    return Predictors(
        recipe.scales,
        recipe.seeds[whole],
        predicted,
        first.labels.astype(np.int32),
        first.classes,
    )
