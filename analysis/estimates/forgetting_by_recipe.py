"""The forgetting time of every recipe, each on a clock of its own or all on one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.clock_axis import Axis, own_clock, recipe_axes
from analysis.estimates.forgetting_time import Floats, Level, forgetting_time
from analysis.estimates.recipes import Recipe
from analysis.estimates.sensitivity import SensitivityCurve, complete_epochs, curves


def forgetting_times(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    axis: Axis | Literal["own"] = "own",
    level: Level = "e",
    initial: float | None = None,
    bandwidth: float = 0.2,
    confidence: float = 0.95,
    constant_rate: bool = False,
) -> pd.DataFrame:
    """The forgetting time of every recipe.

    Parameters
    ----------
    runs, history, recipes
        As in `sensitivity.curves`.
    axis
        Clock to measure on; 'own' is each recipe's leading one (`clock_axis.own_clock`).
    level, initial, bandwidth, confidence
        As in `forgetting_time`.
    constant_rate
        Clocks by the paper's own arithmetic.

    Returns
    -------
    DataFrame
        recipe, axis, level; time, low, high, status, peak, peak_time, reason (see
        `ForgettingTime`); horizon (clock at the last epoch used); epochs used, runs (fewest at any
        of these), seeds, diverged runs left out.
    """
    rows = []
    for one in curves(runs, history, recipes=recipes):
        name: Axis = own_clock(one.recipe.config) if axis == "own" else axis
        clock = recipe_axes(one.recipe, constant_rate=constant_rate)[name][: one.epochs.size]
        use = complete_epochs(one)
        found = forgetting_time(
            clock[use],
            one.slopes.by_seed[:, use],
            level=level,
            initial=initial,
            bandwidth=bandwidth,
            confidence=confidence,
        )
        rows.append(
            {"recipe": one.recipe.label, "axis": name, "level": level}
            | found.__dict__
            | _counts(one, clock, use)
        )
    return pd.DataFrame(rows)


def _counts(one: SensitivityCurve, clock: Floats, use: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "horizon": float(clock[use][-1]) if use.any() else math.nan,
        "epochs": int(use.sum()),
        "runs": int(one.slopes.runs[use].min()) if use.any() else 0,
        "seeds": one.slopes.by_seed.shape[0],
        "diverged": one.recipe.diverged_count,
    }
