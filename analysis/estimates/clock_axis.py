"""The horizontal axes: every epoch of every recipe on the three forgetting clocks, exactly.

The clocks themselves are `suite.declarations.clocks` (Das et al. 2026, §4.1); here they are brought
to the epochs of recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipes import Recipe, find_recipes
from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig
from suite.declarations.schedule import steps_per_epoch
from suite.declarations.update_constants import ADAPTIVE

Floats = NDArray[np.float64]
Axis = Literal["epoch", "steps", "T_SGD", "T_L2", "T_adapt"]
AXES: tuple[Axis, ...] = get_args(Axis)
CLOCKS: tuple[Axis, ...] = ("T_SGD", "T_L2", "T_adapt")


def axes(
    config: RunConfig, train_images: int, *, constant_rate: bool = False
) -> dict[Axis, Floats]:
    """Every axis at the end of the epochs 1, 2, …, `config.epochs`.

    Parameters
    ----------
    config, train_images
        The recipe; σw and the seed do not matter.
    constant_rate
        The paper's own arithmetic: η_k = η0 whatever the schedule.

    Returns
    -------
    dict
        Axis to array of shape (epochs,), increasing; T_L2 is 0 throughout where `kernel_l2` is 0.
    """
    epoch = np.arange(1, config.epochs + 1, dtype=np.float64)
    times = clocks(config, train_images, constant_rate=constant_rate)
    return {
        "epoch": epoch,
        "steps": epoch * steps_per_epoch(config, train_images),
        "T_SGD": times.sgd,
        "T_L2": times.l2,
        "T_adapt": times.adapt,
    }


def recipe_axes(recipe: Recipe, *, constant_rate: bool = False) -> dict[Axis, Floats]:
    """Every axis of a recipe, as in `axes`."""
    return axes(recipe.config, recipe.train_images, constant_rate=constant_rate)


def own_clock(config: RunConfig) -> Axis:
    """The clock that the paper expects to govern a recipe (§4.1): its leading mechanism.

    T_adapt for adaptive rules, T_L2 for the SGD family with kernel L2, else T_SGD.
    """
    if config.optimizer in ADAPTIVE:
        return "T_adapt"
    return "T_L2" if config.kernel_l2 > 0 else "T_SGD"


def clock_frame(
    runs: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None, constant_rate: bool = False
) -> pd.DataFrame:
    """Every axis of every recipe, one row per recipe and epoch.

    Returns
    -------
    DataFrame
        recipe, epoch, steps, T_SGD, T_L2, T_adapt.
    """
    parts = []
    for recipe in find_recipes(runs) if recipes is None else recipes:
        frame = pd.DataFrame(recipe_axes(recipe, constant_rate=constant_rate))
        frame["epoch"] = frame["epoch"].astype(np.int64)
        frame.insert(0, "recipe", recipe.label)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)
