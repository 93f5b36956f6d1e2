"""The terms of the forgetting law: a recipe as a row of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.clock_axis import axes
from suite.declarations.config import ConfigError, RunConfig
from suite.declarations.update_constants import ADAPTIVE

CLOCK_TERMS = ("log_T_SGD", "log_T_adapt", "log_T_L2")
# Settings whose values have an intercept each.
GROUPS = ("dataset", "model", "width", "norm", "augmentation")
Levels = Mapping[str, Sequence[Any]]


def levels_of(recipes: Sequence[RunConfig]) -> dict[str, tuple[Any, ...]]:
    """The values of the settings with intercepts, and of rule and L2, that recipes hold."""
    found: dict[str, dict[Any, None]] = {}
    for recipe in recipes:
        for name, value in _groups(recipe).items():
            found.setdefault(name, {})[value] = None
    return {name: tuple(values) for name, values in found.items()}


def refuse_unknown(recipe: RunConfig, levels: Levels) -> None:
    """Refuse a recipe for which the law has no intercept.

    Raises
    ------
    ConfigError
        Naming the setting and the values that are known.
    """
    for name, value in _groups(recipe).items():
        if value not in levels[name]:
            seen = ", ".join(str(level) for level in levels[name])
            raise ConfigError(
                f"{name}: must be one that the law was fitted on ({seen}), got {value}; "
                "add such a recipe to the fit"
            )


def terms(
    recipe: RunConfig, train_images: int, levels: Levels, *, constant_rate: bool
) -> dict[str, float]:
    """All terms of a recipe, whether they vary among the recipes or not."""
    times = axes(recipe, train_images, constant_rate=constant_rate)
    ends = {name: float(values[-1]) for name, values in times.items()}
    adaptive, l2_on = recipe.optimizer in ADAPTIVE, recipe.kernel_l2 > 0
    row = {
        "intercept": 1.0,
        "adaptive": float(adaptive),
        "momentum": float(recipe.optimizer == "momentum"),
        "l2_on": float(l2_on),
        "log_T_SGD": 0.0 if adaptive else np.log10(ends["T_SGD"]),
        "log_T_adapt": np.log10(ends["T_adapt"]) if adaptive else 0.0,
        "log_T_L2": np.log10(ends["T_L2"]) if l2_on else 0.0,
    }
    here = _groups(recipe)
    for name in GROUPS:
        row |= {f"{name}={value}": float(here[name] == value) for value in levels[name][1:]}
    return row


def acting(name: str, whole: pd.DataFrame) -> NDArray[np.bool_]:
    """In which recipes a clock acts: elsewhere its term is 0 without meaning a clock of 1."""
    where = {
        "log_T_SGD": whole["adaptive"] == 0,
        "log_T_adapt": whole["adaptive"] == 1,
        "log_T_L2": whole["l2_on"] == 1,
    }
    return np.asarray(where[name], dtype=np.bool_)


def varying(whole: pd.DataFrame) -> list[str]:
    """The terms that say something: not constant, and not said by an intercept before already."""
    kept = ["intercept"]
    for name in whole.columns[1:]:
        column = whole[name][acting(name, whole)] if name in CLOCK_TERMS else whole[name]
        if column.empty or np.ptp(column) < 1e-9:
            continue
        repeats = np.linalg.matrix_rank(whole[[*kept, name]]) == len(kept)
        if not (repeats and "=" in name):  # such as a width that goes with a model
            kept.append(name)
    return kept


def _groups(recipe: RunConfig) -> dict[str, Any]:
    identity = recipe.identity()
    rule = "adaptive" if recipe.optimizer in ADAPTIVE else recipe.optimizer
    return {name: identity.get(name, "none") for name in GROUPS} | {
        "optimizer": rule,
        "kernel_l2": "on" if recipe.kernel_l2 > 0 else "off",
    }
