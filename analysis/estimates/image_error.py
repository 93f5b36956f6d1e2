"""Accuracy memory on all test images that there might have been, from what is predicted on each.

All runs are tested on the same images, whose choice moves every accuracy at once. `memory` has the
interval for the images at hand, and a bound on what others could have changed (`image_error`). With
each run's predictions that bound becomes a number: the standard error, over images, of the mean
over seeds of how much more often an image is judged rightly at the best σw than at the worst. It is
what a paired bootstrap of the images gives, without drawing. With the error over seeds it makes an
interval for both, in which what is of single runs and images counts once (`crossed`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.crossed import crossed_error
from analysis.estimates.predictors import Predictors, predictors_of
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.spread import cross_validated, extremes, spread_error
from suite.declarations.predictions import Predictions

Floats = NDArray[np.float64]


def memory_over_images(
    runs: pd.DataFrame,
    kept: Mapping[str, Predictions],
    *,
    recipes: Sequence[Recipe] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy memory with an interval over seeds and test images together.

    Only seeds with a predictor at every σw go in.

    Parameters
    ----------
    runs, recipes, level, seed
        As in `memory.memory`.
    kept
        Run id to predictions.

    Returns
    -------
    DataFrame
        recipe; accuracy_memory, accuracy_corrected (as `memory.memory` has them), accuracy_low,
        accuracy_high (the interval for other seeds and other images; NaN below two seeds),
        image_error (standard error over test images alone). NaN without predictions.
    """
    chosen = find_recipes(runs) if recipes is None else recipes
    streams = np.random.default_rng(seed).spawn(len(chosen))
    rows = [
        {"recipe": recipe.label} | of_predictors(predictors_of(recipe, runs, kept), rng, level)
        for recipe, rng in zip(chosen, streams, strict=True)
    ]
    return pd.DataFrame(rows)


def of_predictors(
    found: Predictors | None, rng: np.random.Generator, level: float = 0.95
) -> dict[str, Any]:
    """The columns of `memory_over_images` for the predictors of one recipe."""
    names = ("accuracy_memory", "accuracy_corrected", "accuracy_low", "accuracy_high")
    none: dict[str, Any] = dict.fromkeys((*names, "image_error"), math.nan)
    if found is None or len(found.values) < 2:
        return none
    right = found.right
    accuracy = np.asarray(right.mean(2), dtype=np.float64)
    plain = extremes(accuracy)
    validated = cross_validated(accuracy, rng)
    shares = right[plain.top] - right[plain.bottom]
    error = float(shares.mean(0).std(ddof=1)) / math.sqrt(shares.shape[1])
    row = none | {"accuracy_memory": plain.spread, "accuracy_corrected": validated}
    row["image_error"] = error
    if noise := spread_error(accuracy, plain):
        of_seeds = float(stats.t.ppf(0.5 + level / 2, noise.degrees_of_freedom))
        # What other images add to the error over seeds, which is that of these images.
        own = crossed_error(shares) ** 2 - noise.standard_error**2
        of_images = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(max(own, 0.0))
        middle = (validated + plain.spread) / 2
        low = validated - math.hypot(of_seeds * noise.standard_error, of_images)
        high = middle + math.hypot(of_seeds * noise.widest, of_images)
        row |= {"accuracy_low": max(0.0, low), "accuracy_high": max(0.0, high)}
    return row
