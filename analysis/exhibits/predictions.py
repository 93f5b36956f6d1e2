"""Our own exhibits of what returned models predict: function memory, and maps of agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.estimates.function_memory import agreement_map
from analysis.estimates.image_error import memory_over_images
from analysis.estimates.memory import memory
from analysis.exhibits.part import CannotError, Part, recipe_rows, refuse_one_scale, with_ends
from analysis.exhibits.source import Source
from analysis.figures.agreement_map import agreement_pages
from analysis.figures.function_memory import function_memory_pages

Z_95 = 1.96
ENDS = ("low", "high")
CALIBRATION = {"test_ece": ("memory of ECE (pp)", 100.0), "test_nll": ("memory of NLL (nats)", 1.0)}


def function(source: Source, title: str) -> list[Part]:
    """Function memory of every recipe beside its accuracy memory, and that of calibration."""
    _refuse_without_predictions(source)
    found = _estimates(source)
    calibration = {
        metric: memory(source.store.runs, recipes=source.recipes, metric=metric, permutations=1)
        for metric in CALIBRATION
    }
    symbol, value = source.perturbation.symbol, source.perturbation.value
    rows = []
    for place, (one, row) in enumerate(recipe_rows(source, found)):
        one |= {"function memory (pp)": 100 * row["function_memory"]}
        one |= {f"function memory (pp) {end}": 100 * row[end] for end in ENDS}
        one |= {"disagree over seeds (%)": 100 * row["within"]}
        one |= {f"over seeds and {symbol} (%)": 100 * row["between"]}
        one |= {f"over {symbol} alone (%)": 100 * row["same_seed"]}
        one |= {"furthest pair (pp)": 100 * row["largest"]}
        furthest = [row[f"largest_{which}"] for which in ("first", "second")]
        known = math.isfinite(row["largest"])
        one |= {f"of {symbol}": ", ".join(map(value, furthest)) if known else ""}
        one |= {"accuracy memory (pp)": 100 * row["accuracy_corrected"]}
        one |= {f"accuracy memory (pp) {end}": 100 * row[f"accuracy_{end}"] for end in ENDS}
        one |= {"test images ± (pp)": 100 * Z_95 * row["image_error"]}
        for metric, (name, factor) in CALIBRATION.items():
            of = calibration[metric].iloc[place].rename({"low": "c_low", "high": "c_high"})
            one |= with_ends(name, of.rename({"corrected": "c"}).to_dict(), "c", factor)
        rows.append(one | {"images": row["images"], "seeds": row["seeds"], symbol: row["values"]})
    said = [
        "Function memory: how much more often two runs of different seeds disagree on a test image "
        "if their {perturbed} differ, too, than if they do not: the mean over all pairs of "
        "{perturbed} of half an energy distance between their predictors. Its mean is 0 where "
        "{perturbed} leaves no trace in what is predicted; it is a squared distance, so "
        "a small one can go with a larger memory of "
        "accuracy. Intervals are over seeds and test images together; accuracy memory is "
        "corrected. Furthest pair: too large, as it was picked. Test images: what the choice of "
        "the test images moves an accuracy memory by (95 %). Memory of ECE and NLL: of the "
        "expected calibration error (15 bins) and of the cross-entropy, both corrected, with "
        "intervals over seeds.",
    ]
    shown = found[found["function_memory"].notna()]
    pages = function_memory_pages(shown, title)
    return [
        Part(said, page, pd.DataFrame(rows) if number == 1 else None, _number(pages, number))
        for number, page in enumerate(pages, start=1)
    ]


def agreement(source: Source, title: str) -> list[Part]:
    """The maps of agreement, some recipes a page."""
    _refuse_without_predictions(source)
    perturbed = source.perturbation
    table = agreement_map(
        source.store.runs,
        source.predictions,
        recipes=source.recipes,
        perturbed=perturbed.name,
    )
    said = [
        "The share of test images on which two runs of different seeds predict the same class, by "
        "the {perturbed} of both. On the diagonal is what seeds alone make. Where {perturbed} is "
        "forgotten, the map has one colour; where the diagonal changes, runs of some {perturbed} "
        "differ more from seed to seed; where agreement is below the mean of its two "
        "places on the diagonal, runs of the "
        "two {perturbed} are other functions (excess, half an energy distance).",
    ]
    pages = agreement_pages(table, title, perturbed)
    return [
        Part(said, page, table if number == 1 else None, _number(pages, number))
        for number, page in enumerate(pages, start=1)
    ]


def _estimates(source: Source) -> pd.DataFrame:
    """Function memory and accuracy memory of each recipe."""
    over_images = memory_over_images(
        source.store.runs, source.predictions, recipes=source.recipes, seed=source.seed
    )
    return (
        source.about[["recipe", "optimizer"]]
        .merge(source.function_memory, on="recipe")
        .merge(over_images, on="recipe")
    )


def _refuse_without_predictions(source: Source) -> None:
    """Make sure that there is something to show.

    Raises
    ------
    CannotError
        If no recipe has predictions of two seeds at two values of the perturbed setting.
    """
    refuse_one_scale(source)
    command = f"python -m suite.keep_predictions --experiment {source.experiment}"
    if not source.predictions:
        raise CannotError(f"no predictions were kept: {command}")
    if source.function_memory["function_memory"].isna().all():
        symbol = source.perturbation.symbol
        raise CannotError(f"no recipe has predictions of two seeds at all its {symbol}: {command}")


def _number(pages: Sequence[object], number: int) -> str:
    return f"{number}" if len(pages) > 1 else ""
