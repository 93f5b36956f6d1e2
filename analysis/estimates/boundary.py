"""Where memory is lost on a clock: the boundary between recipes that remember and that forget.

A recipe is one point: its memory against a clock at the end of its training. On each clock only the
recipes which that clock governs (`clock_axis.own_clock`) decide, as the others forget, or not, for
another reason. The boundary is where the best decreasing curve through their memory (isotonic
regression on the logarithm of the clock) falls through a level, half of the largest memory found.

Between two neighbouring clock values nothing was trained, so that memory may cross the level
anywhere between them: where the curve falls through is known as a bracket, from the last clock
value that remembers to the first that forgets. The interval runs from the lower ends to the upper
ends of the brackets of a percentile bootstrap of both kinds of chance, and holds the bracket of the
data: recipes are drawn with replacement, and the seeds jointly in all recipes, since the same seeds
recur in them. A draw in which all recipes lie on one side counts as a crossing beyond the end, so
that an interval may be open. A bootstrap of the crossing itself, between the same clock values in
every draw, is inconsistent (Sen, Banerjee and Woodroofe 2010). The level is held fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.clock_axis import CLOCKS
from analysis.estimates.crossing import first_fall
from analysis.estimates.recipes import Recipe
from analysis.estimates.returned import accuracy_by_recipe
from analysis.estimates.spread import extremes, spread_error

Floats = NDArray[np.float64]
FEWEST_RECIPES = 4
# T_SGD sums the squares of the rate, the other clocks the rate itself.
POWER = {"T_SGD": 2.0, "T_L2": 1.0, "T_adapt": 1.0}


# --- what is estimated ---
@dataclass(frozen=True)
class Boundary:
    """Where memory falls through a level on one clock.

    Attributes
    ----------
    clock
        T_SGD, T_L2 or T_adapt.
    value
        Clock value; NaN where there is no boundary, for the `reason`.
    low, high
        Its interval; low 0 or high inf where it is open.
    last_remembering, first_forgetting
        The clock values between which the curve falls through the level.
    level
        The memory (a fraction) that is fallen through.
    recipes
        How many recipes decided.
    misplaced
        How many of them lie on the wrong side: above the level after it, or below before.
    reason
        Why there is no boundary; else empty.
    """

    clock: str
    value: float
    low: float
    high: float
    level: float
    recipes: int
    misplaced: int
    reason: str = ""
    last_remembering: float = math.nan
    first_forgetting: float = math.nan


# --- the boundary on each clock ---
def boundaries(
    recipes: pd.DataFrame,
    deviations: Floats,
    level: float,
    *,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The boundary on each clock, one row each with the fields of `Boundary`.

    Parameters
    ----------
    recipes
        One row per recipe: T_SGD, T_L2, T_adapt (at the end of training), own_clock, corrected.
    deviations
        From `seed_deviations`, one row per recipe.
    level
        Such as `memory_level.half_of_largest`.
    seed
        Decides the resampling.
    resamples
        How many are drawn.
    confidence
        Of the interval.
    """
    rows = []
    for clock, rng in zip(CLOCKS, np.random.default_rng(seed).spawn(len(CLOCKS)), strict=True):
        known = np.isfinite(recipes["corrected"].to_numpy(dtype=np.float64))
        decides = known & (recipes["own_clock"] == clock).to_numpy()
        values = recipes.loc[decides, [clock, "corrected"]].to_numpy(dtype=np.float64)
        rows.append(
            boundary(
                clock,
                np.log(values[:, 0]),
                values[:, 1] - level,
                deviations[decides],
                level,
                rng,
                resamples=resamples,
                confidence=confidence,
            ).__dict__
        )
    return pd.DataFrame(rows)


def boundary(
    clock: str,
    log: Floats,
    above: Floats,
    deviations: Floats,
    level: float,
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Boundary:
    """The boundary on one clock.

    Parameters
    ----------
    clock
        Its name.
    log, above
        Log clock and memory less the level of each recipe, shape (R,).
    deviations
        Shape (R, G), see `seed_deviations`.
    level, rng, resamples, confidence
        As in `boundaries`.
    """
    reason = _why_none(clock, log, above, level)
    middle = math.nan if reason else _crossing(log, above)
    if not reason and not math.isfinite(middle):
        reason = "not crossed: memory does not fall along this clock"
    if reason:
        return Boundary(clock, math.nan, math.nan, math.nan, level, log.size, 0, reason)
    # Both kinds of chance in each draw: other seeds move the memories, other recipes are picked.
    drawn, places = np.empty((resamples, 2)), np.unique(log)
    for i in range(resamples):
        noisy = above + _resampled_shift(deviations, rng)
        picked = rng.integers(log.size, size=log.size)
        drawn[i] = _bracket(places, _crossing(log[picked], noisy[picked]))
    tail = (1 - confidence) / 2
    # Draws without a crossing are infinite, and no mean of two of them may be taken.
    low = np.quantile(drawn[:, 0], tail, method="inverted_cdf")
    high = np.quantile(drawn[:, 1], 1 - tail, method="inverted_cdf")
    before, after = _bracket(places, middle)
    limits = float(np.exp(min(low, before))), float(np.exp(max(high, after)))
    wrong = int(((above > 0) != (log < middle)).sum())
    return Boundary(
        *(clock, math.exp(middle), *limits, level, log.size, wrong),
        last_remembering=math.exp(before),
        first_forgetting=math.exp(after),
    )


# --- the noise of the seeds ---
def seed_deviations(
    runs: pd.DataFrame,
    recipes: Sequence[Recipe],
    metric: str = "test_accuracy",
) -> Floats:
    """Each seed's share of a recipe's memory (`spread.spread_error`), less their mean.

    Parameters
    ----------
    runs, recipes, metric
        As in `memory.memory`.

    Returns
    -------
    ndarray of shape (recipes, all seeds)
        NaN where the seed has no run.
    """
    seeds = np.unique(runs["seed"].to_numpy())
    found = np.full((len(recipes), seeds.size), np.nan)
    for row, (recipe, accuracy) in enumerate(accuracy_by_recipe(runs, recipes, metric)):
        error = spread_error(accuracy, extremes(accuracy))
        if error is not None:
            # Centred, so that resampling moves the estimate by its noise alone.
            shares = error.shares - np.nanmean(error.shares)
            found[row, np.searchsorted(seeds, recipe.seeds)] = shares
    return found


# --- the boundary as learning rates ---
def boundary_rates(recipes: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """The boundary in the plane of learning rate and batch size.

    A clock at the end of training is a power of the learning rate, all else being equal, so that
    each recipe says at which rate it would stand on the boundary.

    Parameters
    ----------
    recipes
        As in `boundaries`, with facet, batch_size and learning_rate.
    found
        What `boundaries` returned.

    Returns
    -------
    DataFrame
        One row per facet and batch size which a boundary crosses: facet, batch_size, clock, rate,
        low, high.
    """
    rows = []
    for clock, value, low, high in found[["clock", "value", "low", "high"]].itertuples(index=False):
        here = recipes[(recipes["own_clock"] == clock) & math.isfinite(value)]
        for row in here.drop_duplicates(["facet", "batch_size"]).to_dict("records"):
            rates = [
                row["learning_rate"] * (limit / row[clock]) ** (1 / POWER[clock])
                for limit in (value, low, high)
            ]
            rows.append((row["facet"], row["batch_size"], clock, *rates))
    return pd.DataFrame(rows, columns=["facet", "batch_size", "clock", "rate", "low", "high"])


# --- parts of the estimate ---
def _why_none(clock: str, log: Floats, above: Floats, level: float) -> str:
    if log.size < FEWEST_RECIPES:
        return (
            f"too few recipes: {clock} governs {log.size} with an interval, of {FEWEST_RECIPES} "
            "needed"
        )
    if math.isnan(level):
        return "no recipe's memory is above its noise and a point of accuracy"
    if (above > 0).all() or (above <= 0).all():
        side = "remember" if above[0] > 0 else "forget"
        return f"not crossed: all {log.size} recipes that {clock} governs {side}"
    if np.unique(log).size < 2:
        return "not crossed: all recipes stand at one value of the clock"
    return ""


def _crossing(log: Floats, above: Floats) -> float:
    """Log clock where memory falls through the level; −inf if below at first, inf if never."""
    x, group = np.unique(log, return_inverse=True)
    # Recipes at one clock value have one fitted memory, their mean.
    means = np.bincount(group, above) / np.bincount(group)
    order = np.sort(group)
    crossing = first_fall(x[order], means[order])
    return -math.inf if crossing <= x[0] else crossing


def _bracket(places: Floats, crossing: float) -> tuple[float, float]:
    """The neighbouring clock values around a crossing, all of them logarithms; open if outside."""
    if crossing <= places[0]:
        return -math.inf, float(places[0])
    if math.isinf(crossing):
        return float(places[-1]), math.inf
    # The curve falls between the points, or on one of them, which then forgets.
    after = int(np.searchsorted(places, crossing - 1e-12))
    return float(places[after - 1]), float(places[after])


def _resampled_shift(deviations: Floats, rng: np.random.Generator) -> Floats:
    """By how much each memory moves when the seeds are drawn anew, jointly in all recipes: (R,)."""
    seeds = deviations.shape[1]
    weight = rng.multinomial(seeds, np.full(seeds, 1 / seeds)).astype(np.float64)
    here = np.isfinite(deviations)
    count = here.sum(1)
    total = here @ weight
    moved = np.where(here, deviations, 0) @ weight
    mean = np.divide(moved, total, out=np.zeros_like(moved), where=total > 0)
    # A bootstrap mean of n values varies by (n − 1)/n too little.
    return np.asarray(mean * np.sqrt(count / np.maximum(count - 1, 1)), dtype=np.float64)
