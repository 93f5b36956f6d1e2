"""The forgetting law: what each clock does to memory, and the memory of a recipe not yet trained.

One least-squares regression across recipes of log10 memory on the logarithms of the clocks at the
end of training (Das et al. 2026, §4.1). Each clock acts where its mechanism does:

- T_SGD in the SGD family, T_adapt in the adaptive rules, each with an intercept of its own;
- T_L2 where kernel L2 is on. Where it is off the logarithm does not exist: the term is 0 there and
  an indicator, `l2_on`, takes up the difference (the effect of L2 at T_L2 = 1);
- momentum has an intercept, since the clock leaves its larger steps out;
- so has every data set, architecture, normalization and augmentation but the first.

A term that does not vary among the recipes is left out. A coefficient c of a clock says that ten
times the clock multiplies memory by 10^c. The logarithm needs memories above 0: what is below its
recipe's noise is put at half its `noise_spread`, and counted (`at_limit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from statsmodels.regression.linear_model import RegressionResultsWrapper

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
from suite.declarations.config import ConfigError, RunConfig

Floats = NDArray[np.float64]
LEAST_FREEDOM = 3  # recipes beyond the terms: with fewer, an interval says next to nothing


# --- the fitted law, and what it says ---
class TooFewRecipesError(ConfigError):
    """The recipes cannot tell the terms of the law apart."""


@dataclass(frozen=True, eq=False)
class ForgettingLaw:
    """A fitted law.

    Attributes
    ----------
    results
        The regression by statsmodels; `summary()` prints it.
    terms
        All terms of the recipes, indexed by recipe.
    design
        Those that the regression has.
    response
        log10 memory of each recipe.
    at_limit
        Which memories were below their noise and put at their limit.
    left_out
        Recipes without a memory, which are not in the regression.
    levels
        The values of settings that the recipes hold.
    constant_rate
        Whether the clocks follow the paper's own arithmetic.
    """

    results: RegressionResultsWrapper
    terms: pd.DataFrame
    design: pd.DataFrame
    response: Floats
    at_limit: NDArray[np.bool_]
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
            indicators) and span_factor (factor over that span); recipes, at_limit.
        """
        names = list(self.design.columns)
        intervals = np.asarray(self.results.conf_int(1 - level), dtype=np.float64)
        frame = pd.DataFrame(
            {
                "term": names,
                "coefficient": np.asarray(self.results.params),
                "standard_error": np.asarray(self.results.bse),
                "low": intervals[:, 0],
                "high": intervals[:, 1],
                "p_value": np.asarray(self.results.pvalues),
            }
        )
        frame["factor"] = 10 ** frame["coefficient"]
        frame["factor_low"], frame["factor_high"] = 10 ** frame["low"], 10 ** frame["high"]
        frame["span"] = [self._span(name) for name in names]
        frame["span_factor"] = 10 ** (frame["coefficient"] * frame["span"])
        return frame.assign(recipes=len(self.design), at_limit=int(self.at_limit.sum()))

    def predict(
        self, recipes: Sequence[RunConfig], train_images: int, level: float = 0.95
    ) -> pd.DataFrame:
        """The memory of recipes, trained or not.

        Returns
        -------
        DataFrame
            One row per recipe: recipe (its name), memory, low, high (prediction interval for the
            memory of one such recipe, in units of the metric), outside (whether one of its clocks
            lies outside what the law was fitted on) and recipes (how many that were).

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
        frame = _predicted(self.results, whole[list(self.design.columns)], level)
        frame.insert(0, "recipe", [_name(recipe) for recipe in recipes])
        return frame.assign(outside=self._outside(whole), recipes=len(self.design))

    def leave_one_out(self, level: float = 0.95) -> pd.DataFrame:
        """Every recipe predicted by the law of all others.

        Returns
        -------
        DataFrame
            One row per recipe: recipe, observed, memory (predicted), low, high, error (log10 of
            predicted over observed), inside (whether the interval holds what was observed),
            at_limit, recipes (how many predicted it). A recipe that alone carries a term cannot be
            predicted: NaN, and `inside` is False.
        """
        parts = []
        for i in range(len(self.design)):
            rest = self.design.drop(index=self.design.index[i])
            if np.linalg.matrix_rank(rest) < rest.shape[1]:
                parts.append(pd.DataFrame({name: [np.nan] for name in ("memory", "low", "high")}))
                continue
            fit = sm.OLS(np.delete(self.response, i), rest).fit()
            parts.append(_predicted(fit, self.design.iloc[[i]], level))
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(0, "recipe", self.design.index)
        frame.insert(1, "observed", 10**self.response)
        frame["error"] = np.log10(frame["memory"] / frame["observed"])
        frame["inside"] = frame["observed"].between(frame["low"], frame["high"])
        return frame.assign(at_limit=self.at_limit, recipes=len(self.design) - 1)

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
    _refuse_too_few(design)
    response, at_limit = _response(table.loc[design.index], column)
    return ForgettingLaw(
        results=sm.OLS(response, design).fit(),
        terms=whole,
        design=design,
        response=response,
        at_limit=at_limit,
        left_out=tuple(recipe.label for recipe in recipes if recipe.label not in design.index),
        levels=levels,
        constant_rate=constant_rate,
    )


# --- what goes into the regression ---
def _response(table: pd.DataFrame, column: str) -> tuple[Floats, NDArray[np.bool_]]:
    found = table[column].to_numpy(dtype=np.float64)
    # Below its noise a memory may be zero or negative, which has no logarithm.
    limit = np.nan_to_num(table["noise_spread"].to_numpy(dtype=np.float64) / 2)
    at_limit = found <= limit
    without_noise = at_limit & (limit <= 0)
    if without_noise.any():
        raise ConfigError(
            f"memory: must be above 0 for a logarithm, got {found[without_noise][0]:g} in recipe "
            f"{table.index[without_noise][0]!r} without a known noise; give it at least two seeds"
        )
    return np.log10(np.where(at_limit, limit, found)), at_limit


def _refuse_too_few(design: pd.DataFrame) -> None:
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


# --- what comes out of it ---
def _predicted(
    results: RegressionResultsWrapper, design: pd.DataFrame, level: float
) -> pd.DataFrame:
    found = results.get_prediction(design)
    limits = np.asarray(found.conf_int(obs=True, alpha=1 - level), dtype=np.float64)
    mean = np.asarray(found.predicted_mean, dtype=np.float64)
    return pd.DataFrame({"memory": 10**mean, "low": 10 ** limits[:, 0], "high": 10 ** limits[:, 1]})


def _name(recipe: RunConfig) -> str:
    l2 = f" λ={recipe.kernel_l2:g}" if recipe.kernel_l2 else ""
    return f"{recipe.optimizer} η={recipe.learning_rate:g}{l2} b{recipe.batch_size}"
