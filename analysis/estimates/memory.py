"""Initialization memory of every recipe, with its uncertainty (Das et al. 2026, §2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.no_memory import noise_spread, p_value
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.returned import returned_accuracy, untrained
from analysis.estimates.spread import cross_validated, extremes, interval, seed_means
from suite.declarations.perturbation import SIGMA_W

Floats = NDArray[np.float64]


def memory(
    runs: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    metric: str = "test_accuracy",
    level: float = 0.95,
    permutations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Memory of every recipe: how far apart the seed means at the best and the worst σw are.

    Parameters
    ----------
    runs
        The runs frame of a store.
    recipes
        Those wanted, from `find_recipes(runs)`; all by default.
    metric
        The summary metric of the returned predictor.
    level
        Confidence level of the interval.
    permutations
        Draws for the p value and the noise; the smallest possible p value is 1/(permutations + 1).
    seed
        Decides these draws.

    Returns
    -------
    DataFrame
        One row per recipe, in units of the metric (fractions, so × 100 for pp):
        recipe; memory (the paper's definition); corrected (cross-validated: unbiased where there is
        no memory; may be negative; NaN for one seed); low, high (interval for the true memory);
        bias (memory − corrected); noise_spread (what `memory` would be on average without any
        memory, at this recipe's noise); p_value (of no memory, by a studentized permutation test;
        NaN below eight seeds); sigma_w_top, sigma_w_bottom (named after the perturbed setting) and
        mean_top, mean_bottom (the extreme σw and their means); runs, seeds, scales that went in. A
        diverged run goes in with the model it returns, its best checkpoint or else a guess. Of such
        failures: diverged and untrained (numbers of runs), survivors (memory without diverged runs;
        NaN with fewer than two σw), scales_lost (σw at which all runs diverged), scales_failed (σw
        at which half of the runs or more diverged or are untrained: memory there is of failure).
        image_error: what the standard
        error of memory is at most because all runs share one finite set of test images (see
        `image_error`). See `analysis.estimates.spread` and `no_memory` for methods.
    """
    values = returned_accuracy(runs, metric)
    learned_nothing = untrained(runs)
    chosen = find_recipes(runs) if recipes is None else recipes
    streams = np.random.default_rng(seed).spawn(len(chosen))
    rows = [
        {"recipe": recipe.label}
        | estimate(
            recipe.pivot(values),
            recipe.scales,
            rng,
            level=level,
            permutations=permutations,
            perturbed=recipe.perturbation.name,
        )
        | _failures(recipe, values, learned_nothing)
        for recipe, rng in zip(chosen, streams, strict=True)
    ]
    table = pd.DataFrame(rows)
    if len(table):
        images = [_test_images(runs, recipe) for recipe in chosen]
        ends = table["mean_top"], table["mean_bottom"]
        table["image_error"] = [image_error(*one) for one in zip(*ends, images, strict=True)]
    return table


def image_error(top: float, bottom: float, images: int) -> float:
    """The most that a finite test set can add to the standard error of a difference of accuracies.

    Both are measured on the same images, drawn from all that might have been. On one image the
    difference of two predictors is −1, 0 or 1, and not 0 only where one of them is right and the
    other wrong. All runs of a recipe share the images, so more seeds do not help.

    Parameters
    ----------
    top, bottom
        Mean accuracies at the best and the worst σw.
    images
        How many there are.
    """
    differ = min(top, 1 - bottom) + min(bottom, 1 - top)
    return math.sqrt(max(0.0, differ - (top - bottom) ** 2) / images)


def estimate(
    values: Floats,
    scales: NDArray[Any],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    permutations: int = 2000,
    perturbed: str = SIGMA_W.name,
) -> dict[str, Any]:
    """Memory of one array (S, G) over the σw `scales`, with the columns of `memory`.

    `scales` are values of the setting `perturbed`, after which the columns of the extremes are
    named.
    """
    plain = extremes(values)
    validated = cross_validated(values, rng)
    low, high = interval(values, plain, validated, level)
    means = seed_means(values)
    found = plain.top >= 0
    return {
        "memory": plain.spread,
        "corrected": validated,
        "low": low,
        "high": high,
        "bias": plain.spread - validated,
        "noise_spread": noise_spread(values, permutations, rng) if found else math.nan,
        "p_value": p_value(values, permutations, rng) if found else math.nan,
        f"{perturbed}_top": scales[plain.top] if found else math.nan,
        f"{perturbed}_bottom": scales[plain.bottom] if found else math.nan,
        "mean_top": means[plain.top] if found else math.nan,
        "mean_bottom": means[plain.bottom] if found else math.nan,
        "runs": int(np.isfinite(values).sum()),
        "seeds": int(np.isfinite(values).any(0).sum()),
        "scales": int(np.isfinite(values).any(1).sum()),
    }


def _test_images(runs: pd.DataFrame, recipe: Recipe) -> int:
    return int(runs["test_images"].to_numpy()[recipe.rows[recipe.rows >= 0][0]])


def _failures(
    recipe: Recipe, values: Floats, learned_nothing: NDArray[np.bool_]
) -> dict[str, float | int]:
    there = recipe.rows >= 0
    lost = there.any(1) & ~(there & ~recipe.diverged).any(1)
    failed = there & (recipe.diverged | learned_nothing[recipe.rows])
    return {
        "survivors": extremes(recipe.pivot(values, survivors=True)).spread,
        "diverged": recipe.diverged_count,
        "untrained": int((learned_nothing[recipe.rows] & there).sum()),
        "scales_lost": int(lost.sum()),
        "scales_failed": int((there.any(1) & (2 * failed.sum(1) >= there.sum(1))).sum()),
    }
