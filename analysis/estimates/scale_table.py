"""What the runs of each recipe and σw did: accuracies, epochs, repair gaps, norms over the seeds.

Numbers for Figures 1–5 and Tables 2–7 of Das et al. 2026. The column `sigma_w` has the name of
another setting where that is perturbed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from analysis.estimates.histories import at_epoch, epoch_matrix
from analysis.estimates.recipes import Recipe, find_recipes
from analysis.estimates.returned import returned_accuracy, untrained
from analysis.estimates.seed_mean import seed_mean
from suite.declarations.metrics import INTERPOLATION_THRESHOLD

Floats = NDArray[np.float64]
QUANTITIES = {
    "test_accuracy": "at τ_best",
    "train_accuracy_best": "at τ_best",
    "train_accuracy_final": "in the last epoch",
    "generalization_gap": "train minus test accuracy at τ_best",
    "val_accuracy_best": "at τ_best",
    "val_accuracy_interpolation": "at τ_interp",
    "val_accuracy_final": "in the last epoch",
    "best_epoch": "τ_best",
    "repair_gap": "validation accuracy at τ_best minus at τ_interp",
    "kernel_norm_initial": "before the first step",
    "kernel_norm_best": "at τ_best",
    "trainable_parameters": "of the network",
}


def per_run(runs: pd.DataFrame, history: pd.DataFrame) -> dict[str, Floats]:
    """The `QUANTITIES` of every run, each of shape (runs,); NaN where a run has none."""
    summary = {name: runs[name].to_numpy(dtype=np.float64) for name in QUANTITIES if name in runs}
    summary["test_accuracy"] = returned_accuracy(runs)
    best = runs["best_epoch"].to_numpy(dtype=np.float64)
    fitted = runs["interpolation_epoch"].to_numpy(dtype=np.float64)
    last = runs["epochs_trained"].to_numpy(dtype=np.float64)
    train = epoch_matrix(runs, history, "train_accuracy")
    val = epoch_matrix(runs, history, "val_accuracy")
    train_best = at_epoch(train, best)
    return summary | {
        "train_accuracy_best": train_best,
        "train_accuracy_final": at_epoch(train, last),
        "generalization_gap": train_best - summary["test_accuracy"],
        "val_accuracy_best": at_epoch(val, best),
        "val_accuracy_interpolation": at_epoch(val, fitted),
        "val_accuracy_final": at_epoch(val, last),
    }


def by_scale(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    recipes: Sequence[Recipe] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Every quantity over the seeds, one row per recipe, σw and quantity.

    Returns
    -------
    DataFrame
        recipe, sigma_w, quantity (see `QUANTITIES`); mean, sd, low, high (t interval of the mean),
        p10, p90 (percentiles over seeds), n (seeds that have it), diverged and untrained (numbers
        of runs at this σw that did, and that learned next to nothing). Accuracies are fractions.
    """
    values = per_run(runs, history)
    learned_nothing = untrained(runs).astype(np.float64)
    rows: list[dict[str, Any]] = []
    for recipe in find_recipes(runs) if recipes is None else recipes:
        failures = zip(
            recipe.diverged.sum(1), np.nansum(recipe.pivot(learned_nothing), axis=1), strict=True
        )
        failed = [{"diverged": int(lost), "untrained": int(none)} for lost, none in failures]
        for name in QUANTITIES:
            arranged = recipe.pivot(values[name])
            rows += [
                {"recipe": recipe.label, recipe.perturbation.name: scale, "quantity": name}
                | _over_seeds(arranged[s], level)
                | failed[s]
                for s, scale in enumerate(recipe.scales)
            ]
    return pd.DataFrame(rows)


def interpolation(
    runs: pd.DataFrame, history: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None
) -> pd.DataFrame:
    """When, and whether, the labels are fitted: one row per recipe and σw.

    A run that never reaches 99.5 % training accuracy is not left out: its τ_interp is censored at
    the epoch where it ended, and the median is Kaplan and Meier's.

    Returns
    -------
    DataFrame
        recipe, sigma_w; reached, censored (numbers of runs); median_epoch (inf where half of the
        runs never reached it) and first_epoch (inf where none did); train_accuracy_best (mean) and
        fitted_at_best (whether it is at least 99.5 %: no × in Fig. 2); n, diverged.
    """
    fitted = runs["interpolation_epoch"].to_numpy(dtype=np.float64)
    ended = _followed(runs)
    train = at_epoch(
        epoch_matrix(runs, history, "train_accuracy"), runs["best_epoch"].to_numpy(dtype=np.float64)
    )
    rows: list[dict[str, Any]] = []
    for recipe in find_recipes(runs) if recipes is None else recipes:
        arranged = zip(recipe.pivot(fitted), recipe.pivot(ended), recipe.pivot(train), strict=True)
        for s, (first, last, accuracy) in enumerate(arranged):
            mean = seed_mean(accuracy).mean
            rows.append(
                {"recipe": recipe.label, recipe.perturbation.name: recipe.scales[s]}
                | _censored(first, last)
                | {
                    "train_accuracy_best": mean,
                    "fitted_at_best": bool(mean >= INTERPOLATION_THRESHOLD),
                    "n": int((~np.isnan(last)).sum()),
                    "diverged": int(recipe.diverged[s].sum()),
                }
            )
    return pd.DataFrame(rows)


def interpolation_time(
    runs: pd.DataFrame, *, recipes: Sequence[Recipe] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """τ_interp over the seeds: its median with an interval, one row per recipe and σw.

    A run that does not reach 99.5 % training accuracy is not left out, which would make quantiles
    too early: the median is that of `interpolation`, Kaplan and Meier's. Its interval is the one
    between two order statistics whose coverage is at least 95 % by the binomial distribution,
    whatever the distribution of τ_interp; fewer than six seeds allow none
    (`scipy.stats.quantile_test`).

    Returns
    -------
    DataFrame
        recipe, sigma_w; mean (the median, in epochs; inf where half of the runs never get there),
        low, high (its interval; NaN below six seeds), p10, p90 (percentiles over seeds, inf where
        they lie among runs that never get there); reached (runs that do), n (runs), diverged (how
        many of them did).
    """
    fitted = runs["interpolation_epoch"].to_numpy(dtype=np.float64)
    ended = _followed(runs)
    rows = []
    for recipe in find_recipes(runs) if recipes is None else recipes:
        arranged = zip(recipe.pivot(fitted), recipe.pivot(ended), strict=True)
        for s, (first, last) in enumerate(arranged):
            there = ~np.isnan(last)
            rows.append(
                {"recipe": recipe.label, recipe.perturbation.name: recipe.scales[s]}
                | median_over_seeds(first[there], last[there], level)
                | {"diverged": int(recipe.diverged[s].sum())}
            )
    return pd.DataFrame(rows)


def median_over_seeds(first: Floats, last: Floats, level: float = 0.95) -> dict[str, Any]:
    """Median, interval and percentiles of one τ_interp per run.

    Parameters
    ----------
    first
        τ_interp of each run; NaN for a run without one.
    last
        Until when that run was followed; inf for one that never gets there, such as a diverged one.
    level
        Confidence level of the interval.
    """
    if not first.size:
        none = dict.fromkeys(("mean", "low", "high", "p10", "p90"), math.nan)
        return none | {"reached": 0, "n": 0}
    reached = np.isfinite(first)
    never = np.where(reached, first, np.inf)
    # A run that was not followed to the end may get there next, or never: both ends are taken.
    soonest = np.where(reached, first, last)
    low = stats.quantile_test(soonest, q=np.inf, p=0.5).confidence_interval(level).low
    high = stats.quantile_test(never, q=np.inf, p=0.5).confidence_interval(level).high
    # No mean of an epoch and infinity may be taken: the later of the two neighbours stands.
    p10, p90 = np.quantile(never, [0.1, 0.9], method="linear" if reached.all() else "higher")
    return {
        "mean": median_with_censoring(first, last),
        "low": float(low),
        "high": float(high),
        "p10": float(p10),
        "p90": float(p90),
        "reached": int(reached.sum()),
        "n": int(first.size),
    }


def median_with_censoring(first: Floats, last: Floats) -> float:
    """Kaplan and Meier's median of `first`, NaN where censored at `last`; inf if unreached.

    Where exactly half of the runs are left after an epoch, the median is the middle between it and
    the next at which a run gets there, as it is for numbers without censoring.
    """
    reached = np.isfinite(first)
    if not reached.any():
        return math.inf if first.size else math.nan
    # A run that never gets there stays at risk beyond all others.
    followed = np.minimum(np.where(reached, first, last), first[reached].max() + 1)
    found = SurvfuncRight(followed, reached.astype(int))
    left, epochs = np.append(found.surv_prob, 0.0), np.append(found.surv_times, np.inf)
    half = int(np.flatnonzero(left < 0.5 + 1e-9)[0])
    if half < len(found.surv_prob) and math.isclose(left[half], 0.5, abs_tol=1e-9):
        return float((epochs[half] + epochs[half + 1]) / 2)
    return float(epochs[half])


def _followed(runs: pd.DataFrame) -> Floats:
    """Until when each run was followed, shape (runs,); one that diverged never gets anywhere."""
    return np.where(runs["diverged"], np.inf, runs["epochs_trained"].to_numpy(dtype=np.float64))


def _censored(first: Floats, last: Floats) -> dict[str, Any]:
    there = ~np.isnan(last)
    first, last = first[there], last[there]
    reached = np.isfinite(first)
    earliest = float(first[reached].min()) if reached.any() else math.inf
    return {
        "reached": int(reached.sum()),
        "censored": int((~reached).sum()),
        "median_epoch": median_with_censoring(first, last),
        "first_epoch": earliest if there.any() else math.nan,
    }


def _over_seeds(values: Floats, level: float) -> dict[str, Any]:
    mean = seed_mean(values, level)
    there = values[np.isfinite(values)]
    p10, p90 = np.percentile(there, [10, 90]) if there.size else (math.nan, math.nan)
    return {
        "mean": mean.mean,
        "sd": mean.sd,
        "low": mean.low,
        "high": mean.high,
        "p10": float(p10),
        "p90": float(p90),
        "n": mean.n,
    }
