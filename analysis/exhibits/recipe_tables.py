"""Our own tables of one row a recipe: memory, dose-response, variance, norms."""

from __future__ import annotations

import math

import pandas as pd

from analysis.estimates import dose_response as doses
from analysis.estimates.norm_memory import LEAST_RANGE
from analysis.estimates.variance import variance_shares
from analysis.exhibits import phase_diagram
from analysis.exhibits.columns import spread
from analysis.exhibits.exhibit import SPREAD
from analysis.exhibits.part import (
    CannotError,
    Part,
    recipe_rows,
    refuse_categories,
    refuse_one_scale,
    with_ends,
)
from analysis.exhibits.source import Source

Z_95 = 1.96


def memory(source: Source, title: str) -> list[Part]:
    """Memory of every recipe, its noise, its failures and its verdict."""
    refuse_one_scale(source)
    found, symbol = source.estimates, source.perturbation.symbol
    rows = []
    for one, row in recipe_rows(source, found.recipes):
        one |= spread(row)
        one |= {"corrected (pp)": 100 * row["corrected"]}
        one |= {"noise alone (pp)": 100 * row["noise_spread"]}
        one |= {"test images, at most ± (pp)": 100 * Z_95 * row["image_error"]}
        one |= {"p value": row["p_value"], "T_SGD": row["T_SGD"], "T_L2": row["T_L2"]}
        one |= {"T_adapt": row["T_adapt"], "seeds": row["seeds"], symbol: row["scales"]}
        one |= {"reach τ_interp": f"{row['reached']} of {row['reached'] + row['censored']}"}
        one |= {"diverged": row["diverged"], "untrained": row["untrained"]}
        one |= {"survivors alone (pp)": 100 * row["survivors"], "verdict": row["verdict"]}
        rows.append(one)
    figure = phase_diagram.plane(found, title) if found.plane_varies else None
    verdict = ""
    if math.isfinite(found.level):
        verdict = (
            f"Verdict: whether the interval is above or below {100 * found.level:.1f} pp, half of "
            "the largest memory."
        )
    said = [
        SPREAD,
        "Corrected: the same by cross-validation over seeds, which is 0 on average where there is "
        "no memory. Noise alone: the spread to be expected without memory. Test images: that they "
        "are finite, and the same for all runs, can move a memory by at most so much (95 %) from "
        "that on all images there might have been, whatever the seeds. p value: of no memory, "
        "by permuting {perturbed} within seeds, studentized; from eight seeds on. Clocks: at the "
        "end of training. A diverged run counts as the model it returns, or as a guess if it has "
        "none; survivors alone: memory without such runs. Untrained: test accuracy below twice "
        "that of a guess.",
        verdict,
    ]
    return [Part(said, figure, pd.DataFrame(rows))]


def dose_response(source: Source, _: str) -> list[Part]:
    """Slopes of accuracy on σw, whether a line is enough, and the half-way σw."""
    refuse_categories(source)
    refuse_one_scale(source)
    symbol = source.perturbation.symbol
    found = doses.dose_response(source.store.runs, recipes=source.recipes)
    rows = []
    for one, row in recipe_rows(source, found):
        one |= with_ends(f"slope (pp per {symbol})", row, "slope", 100)
        one |= with_ends(f"per e-fold of {symbol} (pp)", row, "log_slope", 100)
        one |= {"line: p value": row["lack_of_fit"]}
        one |= {"log line: p value": row["log_lack_of_fit"]}
        one |= with_ends("lost (pp)", row, "lost", 100)
        one |= with_ends(f"{symbol} at half", row, "half")
        rows.append(one | {"seeds": row["seeds"], symbol: row["scales"]})
    said = [
        "Test accuracy at τ_best against {perturbed}: least-squares slopes on it and on its "
        "logarithm with their 95 % intervals (seed as the cluster), and p values of these lines "
        "being enough (Hotelling's T² of the seeds' curvatures). Lost: accuracy at the smallest "
        "{perturbed} less that at the largest. {perturbed} at half: where half of it is lost, on "
        "the best monotone curve, with the 95 % interval; none where the loss may be 0.",
    ]
    return [Part(said, None, pd.DataFrame(rows))]


def variance(source: Source, _: str) -> list[Part]:
    """Where the variance of accuracy goes."""
    refuse_one_scale(source)
    found = variance_shares(source.store.runs, recipes=source.recipes)
    symbol = source.perturbation.symbol
    names = {
        source.perturbation.name: f"{symbol} (%)",
        "seed": "seed (%)",
        "rest": f"{symbol} × seed and rest (%)",
    }
    rows = []
    for one, row in recipe_rows(source, found):
        one |= {"sd of all (pp)": 100 * row["deviation"]}
        for part, name in names.items():
            one |= with_ends(name, row, part, 100)
        if source.perturbation.numeric:
            one |= {f"noise at largest over smallest {symbol}": row["trend_factor"]}
            one |= {"trend: p value": row["trend"]}
        rows.append(one | {"seeds": row["seeds"], symbol: row["scales"]})
    said = [
        "Of all that differs in test accuracy between the runs of a recipe: how much of the "
        "variance {perturbed} explains, how much the seed alike at all {perturbed}, and how much "
        "is left, with 95 % intervals (jackknife over seeds).",
        "Noise: how many times the standard deviation of runs at the smallest {perturbed} it is at "
        "the largest, and the p value of there being no trend (from five seeds on)."
        if source.perturbation.numeric
        else "",
    ]
    return [Part(said, None, pd.DataFrame(rows))]


def radial_memory(source: Source, _: str) -> list[Part]:
    """What is left of the initial kernel norm."""
    refuse_one_scale(source)
    found = source.norms
    if (found["initial_spread"] < 1 + LEAST_RANGE).all():
        raise CannotError(f"{source.perturbation.name} leaves the initial kernel norm alone")
    rows = []
    for one, row in recipe_rows(source, found):
        one |= {"slope": row["slope"], "slope low": row["low"], "slope high": row["high"]}
        one |= with_ends("kept", row, "kept")
        one |= {"‖W‖ max/min, start": row["initial_spread"], "at τ_best": row["best_spread"]}
        rows.append(one | {name: row[name] for name in ("runs", "seeds", "scales", "diverged")})
    said = [
        "Slope of log ‖W‖ at τ_best on log ‖W‖ before training, over {perturbed} and seeds, with "
        "its 95 % interval (seed as the cluster): 1 where initial norms keep their ratios, 0 "
        "where all end at one. Kept: part of the range of log ‖W‖ over {perturbed} that is left, "
        "mean over seeds with its 95 % t interval."
    ]
    return [Part(said, None, pd.DataFrame(rows))]
