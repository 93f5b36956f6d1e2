"""What the memories of different recipes owe to having the same seeds.

A seed that remembers more in one recipe may do so in all. The memory of recipe i is a mean over
seeds of shares s_ig, and the covariance of two of them that of their shares. To first order the
law's coefficients are b = A·C of the memories C, so that what seeds have in common adds

    A (S − diag S) Aᵀ,   S_ij = Σ_g ψ_ig ψ_jg,   ψ_ig = (s_ig − s̄_i)/G_i · √(G_i/(G_i − 1))

to their covariance: what clustering by seed has beyond clustering by recipe (Cameron, Gelbach and
Miller 2011), whose own part, the diagonal, the noise of each memory is already. It may come out
negative in some direction by chance and is then taken as 0 there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipes import Recipe
from analysis.estimates.returned import accuracy_by_recipe
from analysis.estimates.spread import extremes, spread_error

Floats = NDArray[np.float64]


def seed_shares(runs: pd.DataFrame, recipes: Sequence[Recipe]) -> pd.DataFrame:
    """Each seed's share of the memory of each recipe.

    Parameters
    ----------
    runs
        The runs frame of a store.
    recipes
        Those wanted, from `find_recipes(runs)`.

    Returns
    -------
    DataFrame
        One row per recipe, one column per seed; NaN where the seed has no run, and in all of a
        recipe whose extreme σw have but one.
    """
    rows = {}
    for recipe, accuracy in accuracy_by_recipe(runs, recipes):
        error = spread_error(accuracy, extremes(accuracy))
        shares = np.full(recipe.seeds.size, np.nan) if error is None else error.shares
        rows[recipe.label] = pd.Series(shares, index=recipe.seeds)
    return pd.DataFrame(rows).T


def common_seeds(shares: Floats) -> int:
    """How many seeds have a share in two recipes or more; `shares` is (recipes, seeds)."""
    return int((np.isfinite(_influences(shares)).sum(0) > 1).sum())


def shared_covariance(weights: Floats, shares: Floats) -> Floats:
    """What the seeds that recipes have in common add to the covariance of b = `weights` · memory.

    Parameters
    ----------
    weights
        Shape (terms, recipes).
    shares
        Shape (recipes, seeds); NaN where a seed has none.

    Returns
    -------
    ndarray of shape (terms, terms)
        Symmetric; by chance not positive.
    """
    influences = np.nan_to_num(_influences(shares))
    together = influences @ influences.T
    return weights @ (together - np.diag(np.diag(together))) @ weights.T


def _influences(shares: Floats) -> Floats:
    """ψ of the module's docstring; NaN where a seed has no share, or is the recipe's only one."""
    here = np.isfinite(shares)
    count = here.sum(1, keepdims=True)
    known = np.where(count > 1, count, np.nan)
    means = np.where(here, shares, 0).sum(1, keepdims=True) / known
    return np.asarray((shares - means) / np.sqrt(known * (known - 1)), dtype=np.float64)
