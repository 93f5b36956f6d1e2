"""Where the variance of test accuracy goes: to σw, to the seed, or to the two together.

Of accuracy = mean + effect of σw + effect of the seed + what is left of a run, the three variances
are estimated from mean squares, with a variance of its own at each σw for the last (least squares'
answer to a mixed model with unequal variances). Their shares are a memory without a scale: how much
of all that differs between runs does σw explain? That of σw is for the σw that were trained, each
counted alike.

Intervals are those of the jackknife over seeds on the logit of a share, with Student's t of G − 1
degrees of freedom. The jackknife knows no border: a share that an F test does not tell from 0 has
an interval that begins there, and reaches at least as far as that test allows (for effects that are
drawn at random).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.cluster_slope import cluster_slopes
from analysis.estimates.no_memory import noise_variances
from analysis.estimates.recipes import Recipe
from analysis.estimates.returned import accuracy_by_recipe
from suite.declarations.perturbation import SIGMA_W

Floats = NDArray[np.float64]
LEAST = 1e-4  # a share that is nearer to 0 or 1 counts as this far from it on the logit scale


def variance_shares(
    runs: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """The shares of σw, of the seed and of the rest in the variance of each recipe's accuracy.

    Only seeds with a run at every σw of the recipe go in.

    Returns
    -------
    DataFrame
        recipe; deviation (standard deviation of all); for sigma_w (or the setting that is perturbed
        in its place), seed and rest the share, with _low and _high; trend (p value of a noise that
        changes with log σw, by a t test of each seed's slope of its absolute deviations; NaN below
        five seeds), trend_factor (how many times the noise at the smallest σw it is at the largest,
        by the line through the logarithms of the standard deviations; NaN where there is no noise),
        both NaN where the values are categories, or 0 is among them; seeds, scales that went in.
        All NaN with fewer than three seeds.
    """
    rows = [
        {"recipe": recipe.label}
        | of_array(recipe.scales, accuracy, level, perturbed=recipe.perturbation.name)
        for recipe, accuracy in accuracy_by_recipe(runs, recipes)
    ]
    return pd.DataFrame(rows)


def of_array(
    scales: NDArray[Any], accuracy: Floats, level: float = 0.95, *, perturbed: str = SIGMA_W.name
) -> dict[str, float | int]:
    """The columns of `variance_shares` for one array (S, G)."""
    parts = (perturbed, "seed", "rest")
    used = accuracy[:, np.isfinite(accuracy).all(0)]
    counts: dict[str, float | int] = {"seeds": used.shape[1], "scales": used.shape[0]}
    names = [f"{part}{end}" for part in parts for end in ("", "_low", "_high")]
    if min(used.shape[0], used.shape[1] - 1) < 2 or not np.ptp(used):
        missing = dict.fromkeys(("deviation", *names, "trend", "trend_factor"), math.nan)
        return missing | counts
    found = _variances(used)
    without = [_variances(np.delete(used, g, axis=1)) for g in range(used.shape[1])]
    row: dict[str, float | int] = {"deviation": math.sqrt(found.sum())}
    for place, part in enumerate(parts):
        share = found[place] / found.sum()
        low, high = _interval(share, [one[place] / one.sum() for one in without], level)
        if part != "rest":
            low, high = _at_the_border(used, place, (low, high), found, level)
        row |= {part: share, f"{part}_low": low, f"{part}_high": high}
    return row | _trend(scales, used) | counts


def _variances(accuracy: Floats) -> Floats:
    """Of σw, of the seed and of the rest; none is negative."""
    scales, seeds = accuracy.shape
    rest = float(noise_variances(accuracy).mean())
    between = float(accuracy.mean(1).var(ddof=1)) - rest / seeds
    seed = float(accuracy.mean(0).var(ddof=1)) - rest / scales
    return np.array([max(between, 0.0), max(seed, 0.0), rest])


def _at_the_border(
    accuracy: Floats, part: int, ends: tuple[float, float], found: Floats, level: float
) -> tuple[float, float]:
    """The interval of a share, from 0 where the F test of a two-way table allows it."""
    scales, seeds = accuracy.shape
    means = (accuracy.mean(1), accuracy.mean(0))
    left = accuracy - means[0][:, None] - means[1] + accuracy.mean()
    freedom, of_means = (scales - 1) * (seeds - 1), means[part].size - 1
    others = accuracy.size / means[part].size
    noise = max(float((left**2).sum()) / freedom, np.finfo(np.float64).tiny)
    ratio = others * float(means[part].var(ddof=1)) / noise
    if stats.f.sf(ratio, of_means, freedom) <= (1 - level) / 2:
        return ends
    # The largest variance, in those of the rest, under which so small a ratio is not unlikely.
    largest = (ratio / stats.f.ppf((1 - level) / 2, of_means, freedom) - 1) / others
    largest = max(float(largest), 0.0) * float(found[-1])
    others_variance = float(found.sum() - found[part])
    return 0.0, max(ends[1], largest / (largest + others_variance))


def _interval(share: float, without: Sequence[float], level: float) -> tuple[float, float]:
    seeds = len(without)
    logits = [_logit(one) for one in (share, *without)]
    pseudo = seeds * logits[0] - (seeds - 1) * np.array(logits[1:])
    half = stats.t.ppf(0.5 + level / 2, seeds - 1) * pseudo.std(ddof=1) / math.sqrt(seeds)
    low, high = (1 / (1 + math.exp(-(logits[0] + sign * half))) for sign in (-1, 1))
    return (0.0 if low < LEAST else low), (1.0 if high > 1 - LEAST else high)


def _logit(share: float) -> float:
    kept = min(max(share, LEAST), 1 - LEAST)
    return math.log(kept / (1 - kept))


def _trend(scales: NDArray[Any], accuracy: Floats) -> dict[str, float]:
    if scales.dtype == object or not (scales > 0).all():  # no logarithm to look for a trend on
        return {"trend": math.nan, "trend_factor": math.nan}
    centred = accuracy - accuracy.mean(0)
    deviations = np.abs(centred - np.median(centred, axis=1)[:, None])
    log = np.log(scales)
    variances = noise_variances(accuracy)
    factor = math.nan
    if (variances > 0).all():
        factor = float(np.exp(np.polyfit(log, 0.5 * np.log(variances), 1)[0] * np.ptp(log)))
    if accuracy.shape[1] < 5:
        return {"trend": math.nan, "trend_factor": factor}
    slopes = cluster_slopes(log[:, None], deviations[:, :, None]).by_seed[:, 0]
    return {"trend": float(stats.ttest_1samp(slopes, 0).pvalue), "trend_factor": factor}
