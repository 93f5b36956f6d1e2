"""The predictor that a run returns, whether or not its training failed.

A run that diverges returns its best checkpoint, and where it has none, a guess. Leaving such runs
out would make a recipe better the more of it fails: it is a result, and enters as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipes import Recipe, find_recipes
from suite.declarations.datasets import KNOWN

Floats = NDArray[np.float64]
# A predictor that is right less often than this many times a guess has learned next to nothing.
LEARNED_FROM = 2.0
# From the accuracy of a guess what else is measured of it, where that is not the accuracy. Its
# probabilities are all alike, so they are right as often as they say.
GUESSED: Mapping[str, Callable[[Floats], Floats]] = {
    "test_nll": lambda share: -np.log(share),
    "test_ece": np.zeros_like,
}


def chance(runs: pd.DataFrame) -> Floats:
    """Accuracy of a guess among the classes of each run's data, shape (runs,).

    NaN for a folder of images, whose classes are not known from the runs.
    """
    known = {name: 1 / facts.classes for name, facts in KNOWN.items()}
    return np.asarray(runs["dataset"].map(known), dtype=np.float64)


def returned_accuracy(runs: pd.DataFrame, metric: str = "test_accuracy") -> Floats:
    """A metric of the model that each run returns, shape (runs,): that of a guess without one.

    Parameters
    ----------
    runs
        The runs frame of a store.
    metric
        A summary metric of accuracy, or one of `GUESSED`.
    """
    values = runs[metric].to_numpy(dtype=np.float64)
    nothing = runs["diverged"].to_numpy(dtype=np.bool_) & np.isnan(values)
    if metric in GUESSED:  # earlier versions did not measure it: no value says nothing of a model
        nothing &= np.isnan(runs["test_accuracy"].to_numpy(dtype=np.float64))
    guessed = GUESSED[metric](chance(runs)) if metric in GUESSED else chance(runs)
    return np.asarray(np.where(nothing, guessed, values), dtype=np.float64)


def accuracy_by_recipe(
    runs: pd.DataFrame, recipes: Sequence[Recipe] | None = None, metric: str = "test_accuracy"
) -> Iterator[tuple[Recipe, Floats]]:
    """Each recipe (all by default) with the accuracy its runs return, shape (σw, seeds)."""
    values = returned_accuracy(runs, metric)
    for recipe in find_recipes(runs) if recipes is None else recipes:
        yield recipe, recipe.pivot(values)


def untrained(runs: pd.DataFrame) -> NDArray[np.bool_]:
    """Which runs return a model that is right less than twice as often as a guess."""
    with np.errstate(invalid="ignore"):
        return np.asarray(returned_accuracy(runs) < LEARNED_FROM * chance(runs), dtype=np.bool_)


def with_last_held(matrix: Floats, runs: pd.DataFrame) -> Floats:
    """A metric by epoch, where a diverged run keeps its last value: no step changes it any more.

    Parameters
    ----------
    matrix
        From `histories.epoch_matrix`, shape (runs, epochs).
    runs
        The same runs.
    """
    held = matrix.copy()
    for row in np.flatnonzero(runs["diverged"].to_numpy(dtype=np.bool_)):
        reached = np.flatnonzero(np.isfinite(held[row]))
        if reached.size:
            held[row, reached[-1] :] = held[row, reached[-1]]
    return held
