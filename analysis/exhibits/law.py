"""The forgetting law of an experiment: its picture, its coefficients and its predictions."""

from __future__ import annotations

import pandas as pd

from analysis.estimates.forgetting_law import fit_law
from analysis.estimates.law_seeds import seed_shares
from analysis.exhibits.part import CannotError, Part, refuse_one_scale
from analysis.exhibits.source import Source
from analysis.figures.forgetting import law_figure
from suite.basics.settings import ConfigError


def forgetting_law(source: Source, title: str) -> list[Part]:
    """The law's predictions and coefficients, and a table of the predictions."""
    refuse_one_scale(source)
    if source.other_initials:
        names = " and ".join(one.name for one in source.other_initials)
        raise CannotError(f"recipes differ in {names}, for which the law has no term")
    try:
        shares = seed_shares(source.store.runs, source.recipes)
        law = fit_law(source.recipes, source.memory, shares)
    except ConfigError as error:
        raise CannotError(str(error)) from None
    coefficients, left = law.coefficients(), law.leave_one_out()
    predicted = left.merge(source.about[["recipe", "optimizer"]], on="recipe")
    known = left["memory"].notna()
    off = 10 ** left.loc[known, "error"].abs().dropna()
    said = [
        f"Memory (corrected), whose logarithm is linear in those of the clocks, over "
        f"{len(law.design)} recipes. Left: each recipe as predicted by the law of "
        "all others, with the 95 % prediction interval; on the line they agree. "
        + (
            f"Of those seen, half are within a factor of {off.median():.2g} of their prediction, "
            f"nine in ten within {off.quantile(0.9):.2g}. "
            if len(off)
            else ""
        )
        + "Right: what ten times a clock, or a setting, multiplies memory by; an arrow: not told.",
        f"{int(law.unseen.sum())} memories are below two standard errors; they enter as measured, "
        "with their noise, and are drawn at the upper end of it (hollow).",
        "No prediction is above the largest memory of the others. All intervals know that the "
        "recipes have the same seeds.",
        f"{int((~known).sum())} recipes alone carry a term and cannot be predicted."
        if (~known).any()
        else "",
        f"Without a memory: {', '.join(law.left_out)}." if law.left_out else "",
    ]
    figure = law_figure(predicted, coefficients, title)
    table = coefficients.rename(
        columns={
            "factor_low": "factor low",
            "factor_high": "factor high",
            "low": "coefficient low",
            "high": "coefficient high",
        }
    )
    return [Part(said, figure, table), *_predictions(predicted)]


def _predictions(predicted: pd.DataFrame) -> list[Part]:
    """The numbers of the left panel, as a table of their own."""
    table = pd.DataFrame(
        {
            "recipe": predicted["recipe"],
            "observed (pp)": 100 * predicted["observed"],
            "predicted (pp)": 100 * predicted["memory"],
            "predicted (pp) low": 100 * predicted["low"],
            "predicted (pp) high": 100 * predicted["high"],
            "inside": predicted["inside"],
            "not seen": predicted["unseen"],
            "recipes": predicted["recipes"],
        }
    )
    said = ["Every recipe's memory as the law of all others predicts it, with the 95 % interval."]
    return [Part(said, None, table, "predictions")]
