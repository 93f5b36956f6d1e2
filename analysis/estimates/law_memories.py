"""The memories that the forgetting law is fitted on, their noise, and when they are too few."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.law_fit import range_factor
from suite.declarations.config import ConfigError

Floats = NDArray[np.float64]
LEAST_FREEDOM = 3  # recipes beyond the terms: with fewer, an interval says next to nothing
SEEN = 2.0  # standard errors, from which on a memory is called seen


class TooFewRecipesError(ConfigError):
    """The recipes cannot tell the terms of the law apart."""


def measured(table: pd.DataFrame, column: str) -> tuple[Floats, Floats]:
    """Memories and their standard errors; an error is 0 where seeds are too few to know it."""
    found = table[column].to_numpy(dtype=np.float64)
    noise = table["noise_spread"].to_numpy(dtype=np.float64)
    # The noise spread is the expected range of as many means; memory is a difference of two.
    factor = np.array([range_factor(max(int(scales), 2)) for scales in table["scales"]])
    error = np.nan_to_num(math.sqrt(2) * noise / factor)
    unknown = (error <= 0) & (found <= 0)
    if unknown.any():
        raise ConfigError(
            f"memory: must have a known noise where it is not above 0, got {found[unknown][0]:g} "
            f"in recipe {table.index[unknown][0]!r}; give it at least two seeds"
        )
    return found, error


def refuse_unseen(design: pd.DataFrame, memory: Floats, error: Floats) -> None:
    seen = memory >= SEEN * error
    if seen.sum() <= LEAST_FREEDOM:
        raise TooFewRecipesError(
            f"recipes: more than {LEAST_FREEDOM} with a memory above its noise, got "
            f"{int(seen.sum())} of {len(design)}; add seeds, or recipes that remember"
        )


def refuse_too_few(design: pd.DataFrame) -> None:
    recipes, count = design.shape
    names = ", ".join(design.columns)
    if recipes < count + LEAST_FREEDOM:
        raise TooFewRecipesError(
            f"recipes: at least {count + LEAST_FREEDOM} for the {count} terms {names}, got "
            f"{recipes}; add batch sizes, learning rates or λ"
        )
    if np.linalg.matrix_rank(design) < count:
        raise TooFewRecipesError(
            f"recipes: must vary each of {names} apart from the others, got {recipes} in which "
            "some go together; vary learning rate, λ and batch size separately"
        )
