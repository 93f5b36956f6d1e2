"""The forgetting law: what each clock does to memory, and the memory of a recipe not yet trained.

One regression across recipes of memory, whose expected logarithm is linear in the logarithms of the
clocks at the end of training (Das et al. 2026, §4.1). Each clock acts where its mechanism does:

- T_SGD in the SGD family, T_adapt in the adaptive rules, each with an intercept of its own;
- T_L2 where kernel L2 is on. Where it is off the logarithm does not exist: the term is 0 there and
  an indicator, `l2_on`, takes up the difference (the effect of L2 at T_L2 = 1);
- momentum has an intercept, since the clock leaves its larger steps out;
- so has every data set, architecture, normalization and augmentation but the first.

A term that does not vary among the recipes is left out. A coefficient c of a clock says that ten
times the clock multiplies memory by 10^c. Memories enter as they were measured, unseen ones (zero,
negative) too, each with its noise (`law_fit`); a power law that knows no end is not believed above
the largest memory it was fitted on.

The same seeds recur in all recipes. What that makes memories have in common widens all intervals
(`law_seeds`): it moves the law as a whole, and more recipes do not help against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.law_fit import LawFit, fit
from analysis.estimates.law_memories import (
    LEAST_FREEDOM,
    SEEN,
    TooFewRecipesError,
    measured,
    refuse_too_few,
    refuse_unseen,
)
from analysis.estimates.law_terms import (
    CLOCK_TERMS,
    Levels,
    acting,
    levels_of,
    refuse_unknown,
    terms,
    varying,
)
from analysis.estimates.recipes import Recipe
from suite.declarations.config import RunConfig

Floats = NDArray[np.float64]
UNTOLD = 4.0  # decades: an effect whose interval is wider to one side is not told by the recipes


# --- the fitted law, and what it says ---
@dataclass(frozen=True, eq=False)
class ForgettingLaw:
    """A fitted law.

    Attributes
    ----------
    fit
        The coefficients, their covariance and the scatter of recipes about the law.
    terms
        All terms of the recipes, indexed by recipe.
    design
        Those that the regression has.
    memory
        Memory of each recipe, as measured.
    error
        Its standard error.
    shares
        Each seed's share of it, shape (recipes, seeds); None where no seed is in two recipes.
    unseen
        Which memories are less than two standard errors.
    left_out
        Recipes without a memory, which are not in the regression.
    levels
        The values of settings that the recipes hold.
    constant_rate
        Whether the clocks follow the paper's own arithmetic.
    """

    fit: LawFit
    terms: pd.DataFrame
    design: pd.DataFrame
    memory: Floats
    error: Floats
    shares: Floats | None
    unseen: NDArray[np.bool_]
    left_out: tuple[str, ...]
    levels: Levels
    constant_rate: bool

    def coefficients(self, level: float = 0.95) -> pd.DataFrame:
        """What each term multiplies memory by, and so which setting erases it most.

        Returns
        -------
        DataFrame
            One row per term: term, coefficient, standard_error, low, high, p_value; factor (what
            memory is multiplied by: per ten times the clock, or by an indicator) with factor_low,
            factor_high; span (decades of the clock among the recipes where it acts; NaN for
            indicators) and span_factor (factor over that span); recipes, unseen. An effect that the
            recipes do not tell, as only unseen memories carry it, has the interval (−inf, inf).
        """
        each = np.eye(self.design.shape[1])
        errors, freedom = self.fit.errors(each)
        half = self.fit.half_widths(each, level)
        half[half > UNTOLD] = np.inf
        found = self.fit.coefficients
        frame = pd.DataFrame(
            {
                "term": list(self.design.columns),
                "coefficient": found,
                "standard_error": errors,
                "low": found - half,
                "high": found + half,
                "p_value": 2 * stats.t.sf(np.abs(found) / errors, freedom),
            }
        )
        frame["factor"] = 10 ** frame["coefficient"]
        frame["factor_low"], frame["factor_high"] = 10 ** frame["low"], 10 ** frame["high"]
        frame["span"] = [self._span(str(name)) for name in self.design.columns]
        frame["span_factor"] = 10 ** (frame["coefficient"] * frame["span"])
        return frame.assign(recipes=len(self.design), unseen=int(self.unseen.sum()))

    def predict(
        self, recipes: Sequence[RunConfig], train_images: int, level: float = 0.95
    ) -> pd.DataFrame:
        """The memory of recipes, trained or not.

        Returns
        -------
        DataFrame
            One row per recipe: recipe (its name), memory, low, high (prediction interval for the
            memory of one such recipe, in units of the metric), capped (whether the law says more
            than the largest memory it was fitted on, which then stands), outside (whether one of
            its clocks lies outside what the law was fitted on) and recipes (how many that were).

        Raises
        ------
        ConfigError
            If the law holds no recipe with that model, normalization, family or the like.
        """
        for recipe in recipes:
            refuse_unknown(recipe, self.levels)
        whole = pd.DataFrame(
            [
                terms(recipe, train_images, self.levels, constant_rate=self.constant_rate)
                for recipe in recipes
            ]
        )
        design = whole[list(self.design.columns)].to_numpy(dtype=np.float64)
        frame = _predicted(self.fit, design, float(self.memory.max()), level)
        frame.insert(0, "recipe", [_name(recipe) for recipe in recipes])
        return frame.assign(outside=self._outside(whole), recipes=len(self.design))

    def leave_one_out(self, level: float = 0.95) -> pd.DataFrame:
        """Every recipe predicted by the law of all others.

        Returns
        -------
        DataFrame
            One row per recipe: recipe, observed, observed_low, observed_high (two standard errors
            of it, from 0), memory (predicted), low, high, capped, error (log10 of predicted over
            observed; NaN where unseen), inside (whether the interval, widened by the noise of what
            was observed, holds it), unseen, recipes (how many predicted it). A recipe that alone
            carries a term cannot be predicted: NaN, and `inside` is False.
        """
        design = self.design.to_numpy(dtype=np.float64)
        parts = []
        for i in range(len(design)):
            rest = np.delete(design, i, axis=0)
            if np.linalg.matrix_rank(rest) < rest.shape[1]:
                none = {name: [np.nan] for name in ("memory", "low", "high")}
                parts.append(pd.DataFrame(none | {"capped": [False]}))
                continue
            others = np.delete(self.memory, i)
            shares = None if self.shares is None else np.delete(self.shares, i, axis=0)
            one = fit(rest, others, np.delete(self.error, i), shares)
            parts.append(_predicted(one, design[[i]], float(others.max()), level))
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(0, "recipe", self.design.index)
        frame.insert(1, "observed", self.memory)
        noise = SEEN * self.error
        frame.insert(2, "observed_low", np.maximum(0, self.memory - noise))
        frame.insert(3, "observed_high", np.maximum(0, self.memory + noise))
        seen = frame["observed"].where(~self.unseen)
        frame["error"] = np.log10(frame["memory"] / seen)
        # Limits of a sum from the limits of its parts (Zou and Donner 2008).
        low = frame["memory"] - np.hypot(frame["memory"] - frame["low"], noise)
        high = frame["memory"] + np.hypot(frame["high"] - frame["memory"], noise)
        frame["inside"] = frame["observed"].between(low, high)
        return frame.assign(unseen=self.unseen, recipes=len(self.design) - 1)

    def _span(self, name: str) -> float:
        if name not in CLOCK_TERMS:
            return float("nan")
        return float(np.ptp(self.terms.loc[acting(name, self.terms), name]))

    def _outside(self, asked: pd.DataFrame) -> NDArray[np.bool_]:
        found = np.zeros(len(asked), dtype=np.bool_)
        for name in CLOCK_TERMS:
            known = self.terms.loc[acting(name, self.terms), name]
            if not known.empty:
                inside = asked[name].between(known.min() - 1e-9, known.max() + 1e-9)
                found |= acting(name, asked) & ~inside.to_numpy(dtype=np.bool_)
        return found


# --- fitting ---
def fit_law(
    recipes: Sequence[Recipe],
    memory: pd.DataFrame,
    shares: pd.DataFrame | None = None,
    *,
    column: str = "corrected",
    constant_rate: bool = False,
) -> ForgettingLaw:
    """The law of some recipes.

    Parameters
    ----------
    recipes
        The recipes.
    memory
        Their memories, from `analysis.estimates.memory.memory`; recipes without a number are left
        out.
    shares
        Each seed's share of them, from `law_seeds.seed_shares`; None says that no seed is in two
        recipes.
    column
        'corrected', or 'memory' (the paper's definition, which single seeds have too).
    constant_rate
        Clocks by the paper's own arithmetic.

    Raises
    ------
    TooFewRecipesError
        If fewer than three more recipes than terms have a memory, or terms go together.
    ConfigError
        If a memory is not above 0 and its noise is unknown.
    """
    table = memory.set_index("recipe")
    values = table[column].reindex([recipe.label for recipe in recipes]).to_numpy(dtype=np.float64)
    known = [recipe for recipe, value in zip(recipes, values, strict=True) if np.isfinite(value)]
    if len(known) <= LEAST_FREEDOM:
        raise TooFewRecipesError(
            f"recipes: more than {LEAST_FREEDOM} with a {column} memory, got {len(known)} of "
            f"{len(recipes)}; add recipes or seeds"
        )
    levels = levels_of([recipe.config for recipe in known])
    whole = pd.DataFrame(
        [
            terms(recipe.config, recipe.train_images, levels, constant_rate=constant_rate)
            for recipe in known
        ],
        index=pd.Index([recipe.label for recipe in known], name="recipe"),
    )
    design = whole[varying(whole)]
    refuse_too_few(design)
    found, error = measured(table.loc[design.index], column)
    refuse_unseen(design, found, error)
    by_seed = None if shares is None else shares.loc[design.index].to_numpy(dtype=np.float64)
    return ForgettingLaw(
        fit=fit(design.to_numpy(dtype=np.float64), found, error, by_seed),
        terms=whole,
        design=design,
        memory=found,
        error=error,
        shares=by_seed,
        unseen=found < SEEN * error,
        left_out=tuple(recipe.label for recipe in recipes if recipe.label not in design.index),
        levels=levels,
        constant_rate=constant_rate,
    )


# --- what comes out of it ---
def _predicted(found: LawFit, design: Floats, largest: float, level: float) -> pd.DataFrame:
    """Memory of recipes by the law, which is not followed above the largest it was fitted on."""
    log, ceiling = design @ found.coefficients, math.log10(largest)
    quantile, scatter = found.quantile(level), found.scatter_decades
    half = found.half_widths(design, level, scatter=scatter)
    # Recipes scatter about the ceiling, too.
    high = np.minimum(log + half, ceiling + quantile * scatter)
    middle = np.minimum(log, ceiling)
    low = np.where(half > UNTOLD, -np.inf, np.minimum(log - half, ceiling - quantile * scatter))
    return pd.DataFrame(
        {"memory": 10**middle, "low": 10**low, "high": 10**high, "capped": log > ceiling}
    )


def _name(recipe: RunConfig) -> str:
    l2 = f" λ={recipe.kernel_l2:g}" if recipe.kernel_l2 else ""
    return f"{recipe.optimizer} η={recipe.learning_rate:g}{l2} b{recipe.batch_size}"
