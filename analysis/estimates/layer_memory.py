"""Where the start survives: each layer's cosine to its initial kernel, and when it has fallen.

A layer counts as forgotten where the mean over seeds of its cosine has fallen to `HALF`. It is read
off the best decreasing curve through the measured epochs, along the logarithm of the clock, between
epochs a factor of 1.3 to 1.5 apart; its interval are the clock values at which a t test over seeds
does not reject that the mean is `HALF` (as in `forgetting_time`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.clock_axis import Axis, own_clock, recipe_axes
from analysis.estimates.crossing import first_fall, set_of_crossings
from analysis.estimates.histories import run_positions
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.seed_mean import seed_bands, seed_mean
from suite.declarations.layers import is_measured
from suite.declarations.perturbation import SIGMA_W

Floats = NDArray[np.float64]
HALF = 0.5
SHARE_OF_LONGEST = 0.5  # of the measured epochs; what ended before, diverged mostly, is left out
FEWEST_POINTS = 2  # measured epochs of a curve that may fall between them


# --- the numbers of a recipe as arrays ---
@dataclass(frozen=True, eq=False)
class RecipeLayers:
    """What the runs of a recipe measured of their layers.

    Attributes
    ----------
    recipe
        The recipe.
    layers
        Names of its L layers from the input to the class scores.
    epochs
        E epochs at which all runs are measured that train for so long, the first of them 0.
    cosine, norm
        Cosine to the initial kernel and Frobenius norm, shape (S, G, E, L); NaN where missing.
    best
        Cosine of the returned model's kernels, shape (S, G, L).
    """

    recipe: Recipe
    layers: tuple[str, ...]
    epochs: NDArray[np.int64]
    cosine: Floats
    norm: Floats
    best: Floats


def recipe_layers(
    runs: pd.DataFrame, layers: pd.DataFrame, recipes: Sequence[Recipe]
) -> list[RecipeLayers]:
    """The layers of those recipes that have measured any.

    Parameters
    ----------
    runs, layers
        From `store.load`.
    recipes
        Recipes of `runs`.
    """
    rows = run_positions(runs, layers)
    found = []
    for recipe in recipes:
        place = np.full((len(runs) + 1, 2), -1)  # the last row is that of runs that are not here
        scale, seed = np.nonzero(recipe.rows >= 0)
        place[recipe.rows[scale, seed]] = np.column_stack([scale, seed])
        here = place[rows, 0] >= 0
        if here.any():
            part = layers[here]
            best = runs["best_epoch"].to_numpy(dtype=np.float64)[rows[here]]
            found.append(_arranged(recipe, part, place[rows[here]], best))
    return found


def _arranged(
    recipe: Recipe, part: pd.DataFrame, place: NDArray[np.intp], best: Floats
) -> RecipeLayers:
    named = part.groupby("depth", observed=True)["layer"].first()
    last = recipe.config.epochs
    epoch = part["epoch"].to_numpy(dtype=np.int64)
    there = np.unique(epoch)
    epochs = np.array([e for e in there if e == 0 or is_measured(int(e), last)], dtype=np.int64)
    depth = part["depth"].to_numpy(dtype=np.int64)
    cosine, norm = (part[name].to_numpy(dtype=np.float64) for name in ("cosine", "norm"))
    shape = (*recipe.rows.shape, epochs.size, len(named))
    arrays = [np.full(shape, np.nan) for _ in range(2)]
    due = np.isin(epoch, epochs)
    at = (*place[due].T, np.searchsorted(epochs, epoch[due]), depth[due])
    for array, values in zip(arrays, (cosine, norm), strict=True):
        array[at] = values[due]
    returned = np.full((*recipe.rows.shape, len(named)), np.nan)
    chosen = epoch == best
    returned[(*place[chosen].T, depth[chosen])] = cosine[chosen]
    names = tuple(named.astype(str))
    return RecipeLayers(recipe, names, epochs, arrays[0], arrays[1], returned)


# --- what becomes of each layer ---
def layer_curves(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Each layer in the course of training, over the seeds that were trained so long.

    Returns
    -------
    DataFrame
        recipe, sigma_w (or the setting perturbed in its place), epoch, axis (the recipe's leading
        clock, `clock_axis.own_clock`), time (on that clock), layer, depth (0 at the input); cosine
        to the initial kernel, its mean over seeds with low and high (t interval; NaN for one seed);
        norm_ratio, the mean of ‖W‖/‖W₀‖; distance, the mean of ‖W − W₀‖/‖W₀‖; seeds.
        Empty where nothing was measured.
    """
    found = recipe_layers(runs, layers, find_recipes(runs) if recipes is None else recipes)
    parts = [_curves(one, level) for one in found]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CURVE_COLUMNS)


CURVE_COLUMNS = (
    *("recipe", SIGMA_W.name, "epoch", "axis", "time", "layer", "depth", "cosine", "low", "high"),
    *("norm_ratio", "distance", "seeds"),
)


def _curves(found: RecipeLayers, level: float) -> pd.DataFrame:
    ratio = found.norm / found.norm[:, :, found.epochs == 0]
    # ‖W − W₀‖² / ‖W₀‖², by the law of cosines; rounding may leave less than 0.
    square = ratio**2 - 2 * ratio * found.cosine + 1
    distance = np.sqrt(np.maximum(square, 0))
    cosine = seed_bands(np.moveaxis(found.cosine, 1, 0), level)
    shape = cosine.mean.shape
    scales, epochs, depths = np.indices(shape).reshape(3, -1)
    axis = own_clock(found.recipe.config)
    time = np.concatenate([[0.0], recipe_axes(found.recipe)[axis]])[found.epochs]
    frame = pd.DataFrame(
        {
            "recipe": found.recipe.label,
            found.recipe.perturbation.name: found.recipe.scales[scales],
            "epoch": found.epochs[epochs],
            "axis": axis,
            "time": time[epochs],
            "layer": np.array(found.layers, dtype=object)[depths],
            "depth": depths,
            "cosine": cosine.mean.ravel(),
            "low": cosine.low.ravel(),
            "high": cosine.high.ravel(),
            "norm_ratio": seed_bands(np.moveaxis(ratio, 1, 0), level).mean.ravel(),
            "distance": seed_bands(np.moveaxis(distance, 1, 0), level).mean.ravel(),
            "seeds": cosine.n.ravel(),
        }
    )
    return frame[frame["seeds"] > 0].reset_index(drop=True)


# --- when each layer is forgotten ---
def layer_forgetting(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    axis: Axis | Literal["own"] = "own",
    level: float = 0.95,
) -> pd.DataFrame:
    """When each layer's mean cosine to its start has fallen to one half.

    Parameters
    ----------
    axis
        Clock to measure on; 'own' is each recipe's leading one (`clock_axis.own_clock`).

    Returns
    -------
    DataFrame
        recipe, sigma_w (or the setting perturbed in its place), layer, depth, axis; time (clock
        value; NaN unless it crosses) with low and high (0: may be before the first epoch; inf: may
        not be within the training; NaN for one seed); epoch (the same on the axis of epochs, for
        reading); status ('crossed', 'immediate' within the first epoch, 'never', or
        'undetermined'); order (1 is the layer of the recipe and σw that is forgotten first; NaN for
        what never is); at_best (cosine of the returned model's kernel) with at_best_low,
        at_best_high; seeds.
    """
    known = find_recipes(runs) if recipes is None else recipes
    rows: list[dict[str, Any]] = []
    for found in recipe_layers(runs, layers, known):
        config = found.recipe.config
        chosen: Axis = own_clock(config) if axis == "own" else axis
        rows += _forgotten(found, chosen, recipe_axes(found.recipe), level)
    if not rows:
        return pd.DataFrame(columns=FORGETTING_COLUMNS)
    frame = pd.DataFrame(rows)
    early = frame["epoch"].where(frame["status"] != "immediate", 0.0)
    perturbed = known[0].perturbation.name
    frame["order"] = early.groupby([frame["recipe"], frame[perturbed]]).rank(method="min")
    return frame[[perturbed if name == SIGMA_W.name else name for name in FORGETTING_COLUMNS]]


FORGETTING_COLUMNS = (
    *("recipe", SIGMA_W.name, "layer", "depth", "axis", "time", "low", "high", "epoch", "status"),
    *("order", "at_best", "at_best_low", "at_best_high", "seeds"),
)


def _forgotten(
    found: RecipeLayers, axis: Axis, axes: Mapping[Axis, Floats], level: float
) -> list[dict[str, Any]]:
    rows = []
    later = found.epochs >= 1
    epoch = found.epochs[later]
    clocks = {name: axes[name][epoch - 1] for name in (axis, "epoch")}
    for s, scale in enumerate(found.recipe.scales):
        for depth, layer in enumerate(found.layers):
            values = found.cosine[s][:, later, depth]
            if not np.isfinite(values).any():
                continue
            best = seed_mean(found.best[s, :, depth], level)
            rows.append(
                {"recipe": found.recipe.label, found.recipe.perturbation.name: scale}
                | {"layer": layer, "depth": depth, "axis": axis}
                | forgotten_at(clocks[axis], values, level)
                | {"epoch": forgotten_at(clocks["epoch"], values, level)["time"]}
                | {"at_best": best.mean, "at_best_low": best.low, "at_best_high": best.high}
            )
    return rows


def forgotten_at(clock: Floats, cosines: Floats, level: float = 0.95) -> dict[str, Any]:
    """When a mean cosine has fallen to one half.

    Parameters
    ----------
    clock
        Of the measured epochs from 1 on, ascending and above 0, shape (E,).
    cosines
        Of each seed, shape (G, E); NaN where a seed was not measured.

    Returns
    -------
    dict
        time, low, high, status, as in `layer_forgetting`; seeds, those that are measured at half as
        many epochs as the longest or more. The curve ends with the shortest of these.
    """
    # The same seeds at every epoch, so that none moves the mean by its absence.
    measured = np.isfinite(cosines).sum(1)
    cosines = cosines[measured >= SHARE_OF_LONGEST * measured.max(initial=1)]
    band, seeds = seed_bands(cosines, level), len(cosines)
    there = (band.n == seeds) & (clock > 0)
    x = np.log(clock[there])
    none = {"time": math.nan, "low": math.nan, "high": math.nan, "seeds": seeds}
    if x.size < FEWEST_POINTS:
        return none | {"status": "undetermined"}
    above = band.mean[there] - HALF
    fall = first_fall(x, above)
    low, high = math.nan, math.nan
    if seeds > 1:
        ends = set_of_crossings(x, band.low[there] - HALF, band.high[there] - HALF)
        low = 0.0 if ends[0] <= x[0] else math.exp(ends[0])
        high = math.inf if math.isinf(ends[1]) else math.exp(ends[1])
    if fall <= x[0] and not there[0]:  # a run of an earlier version, measured from midway on
        return none | {"low": 0.0, "status": "undetermined"}
    if fall <= x[0]:
        return none | {"low": low, "high": high, "status": "immediate"}
    if math.isinf(fall):
        return none | {"low": low, "high": high, "status": "never"}
    return none | {"time": math.exp(fall), "low": low, "high": high, "status": "crossed"}
