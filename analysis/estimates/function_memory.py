"""Memory of the function: how much more predictors differ over σw than over seeds alone.

Two runs of one recipe that differ in their seed alone already disagree on some test images.
Function memory is how much more two runs disagree that differ in the perturbed setting (σw), too:
the mean over pairs of its values of

    F(a, b) = D(a, b) − ½ D(a, a) − ½ D(b, b),

with D the share of test images on which predictors of two *different* seeds disagree. With p_a(x)
the probabilities over seeds of the class that is predicted for image x, F(a, b) is the mean over
images of ½ ‖p_a(x) − p_b(x)‖², half an energy distance (Székely and Rizzo 2013): never negative,
and 0 only where the setting leaves no trace in what is predicted, whatever becomes of accuracy.

As a mean over pairs of different seeds it is a U-statistic: unbiased, with mean 0 where there is no
memory. Nothing is picked, so that nothing needs to be corrected, and the values need no order. The
pair that lies furthest apart stands beside it, and is too large as it was picked.

Interval: ± t (G − 1 degrees of freedom) with the variance over seeds and test images together
(`crossed`), from the jackknife's pseudo-values over seeds, image by image. For a statistic of pairs
the jackknife's variance is too large where there is hardly any memory, by a factor of two at most.
Limits are raised to 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.agreement import Agreement, agreement
from analysis.estimates.crossed import crossed_error
from analysis.estimates.predictors import Predictors, predictors_of
from analysis.estimates.recipes import Recipe, find_recipes
from suite.declarations.predictions import Predictions

Floats = NDArray[np.float64]
SEEDS_FOR_INTERVAL = 3
NUMBERS = ("function_memory", "low", "high", "within", "between", "same_seed")
LARGEST = ("largest", "largest_first", "largest_second")


def function_memory(
    runs: pd.DataFrame,
    kept: Mapping[str, Predictions],
    *,
    recipes: Sequence[Recipe] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Function memory of every recipe, from the seeds that have a predictor at every value.

    Parameters
    ----------
    runs
        The runs frame of a store.
    kept
        Run id to predictions.
    recipes
        Those wanted, from `find_recipes(runs)`; all by default.
    level
        Confidence level of the interval.

    Returns
    -------
    DataFrame
        One row per recipe, in fractions of the test images: recipe; function_memory, low, high (NaN
        below three seeds); within and between (disagreement of different seeds at one value and at
        two), same_seed (of one seed at two values); largest (of the pair of values furthest apart)
        and that pair, largest_first and largest_second; images, seeds, values that went in,
        guesses (runs without a model). NaN with fewer than two seeds or values.
    """
    chosen = find_recipes(runs) if recipes is None else recipes
    rows = [
        {"recipe": recipe.label} | of_predictors(predictors_of(recipe, runs, kept), level)
        for recipe in chosen
    ]
    return pd.DataFrame(rows)


def of_predictors(found: Predictors | None, level: float = 0.95) -> dict[str, Any]:
    """The columns of `function_memory` for the predictors of one recipe."""
    none: dict[str, Any] = dict.fromkeys((*NUMBERS, *LARGEST), math.nan)
    if found is None:
        return none | {"images": 0, "seeds": 0, "values": 0, "guesses": 0}
    scales, seeds, images = found.predicted.shape
    counts = {"images": images, "seeds": seeds, "values": scales, "guesses": found.guesses}
    if min(scales, seeds) < 2:
        return none | counts
    return estimate(agreement(found), found.values, level) | counts


def estimate(found: Agreement, values: NDArray[np.generic], level: float = 0.95) -> dict[str, Any]:
    """Function memory with its interval, and what stands beside it, from the agreement."""
    scales = values.size
    others, same = found.other_seeds, found.same_seed
    apart = ~np.eye(scales, dtype=np.bool_)
    memory = float(np.diag(others).mean() - others[apart].mean())
    low, high = _interval(memory, found, level)
    distance = excess(others)
    first, second = np.unravel_index(int(distance.argmax()), distance.shape)
    return {
        "function_memory": memory,
        "low": low,
        "high": high,
        "within": 1 - float(np.diag(others).mean()),
        "between": 1 - float(others[apart].mean()),
        "same_seed": 1 - float(same[apart].mean()),
        "largest": float(distance[first, second]),
        "largest_first": values[min(first, second)],
        "largest_second": values[max(first, second)],
    }


def excess(others: Floats) -> Floats:
    """F of the module's docstring for each pair of values, from `Agreement.other_seeds`."""
    own = np.diag(others)
    return np.asarray((own[:, None] + own) / 2 - others, dtype=np.float64)


def agreement_map(
    runs: pd.DataFrame,
    kept: Mapping[str, Predictions],
    *,
    recipes: Sequence[Recipe] | None = None,
    perturbed: str = "sigma_w",
) -> pd.DataFrame:
    """How often runs of two values of the perturbed setting agree, for each pair of values.

    Parameters
    ----------
    perturbed
        Names the columns of the values: it, and `other_` before it.

    Returns
    -------
    DataFrame
        One row per recipe and ordered pair of values: recipe, sigma_w, other_sigma_w; other_seeds
        and same_seed (share of the test images on which such runs agree; 1 for a run with itself);
        excess (how much less than within the two values). Recipes with fewer than two values or
        seeds with predictions are left out.
    """
    rows = []
    for recipe in find_recipes(runs) if recipes is None else recipes:
        found = predictors_of(recipe, runs, kept)
        if found is None or min(found.predicted.shape[:2]) < 2:
            continue
        one = agreement(found)
        others, same = one.other_seeds, one.same_seed
        distance = excess(others)
        rows += [
            {
                "recipe": recipe.label,
                perturbed: found.values[a],
                f"other_{perturbed}": found.values[b],
                "other_seeds": others[a, b],
                "same_seed": same[a, b],
                "excess": distance[a, b],
            }
            for a, b in np.ndindex(others.shape)
        ]
    return pd.DataFrame(rows)


def _interval(memory: float, found: Agreement, level: float) -> tuple[float, float]:
    seeds = len(found.parts)
    if seeds < SEEDS_FOR_INTERVAL:
        return math.nan, math.nan
    # Pseudo-values of the jackknife over seeds, image by image: their mean over seeds is the part
    # of the image, and of that the mean over images is the memory.
    whole = found.parts.sum(0)
    without = (whole - 2 * found.parts) / ((seeds - 1) * (seeds - 2))
    shares = whole / (seeds - 1) - (seeds - 1) * without
    half = stats.t.ppf(0.5 + level / 2, seeds - 1) * crossed_error(shares)
    return max(0.0, memory - half), max(0.0, memory + half)
