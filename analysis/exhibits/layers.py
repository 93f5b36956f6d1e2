"""Where the start survives: layer by layer in each recipe, and which layers forget first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.estimates.layer_memory import layer_curves
from analysis.exhibits.part import CannotError, Part
from analysis.exhibits.source import Source
from analysis.figures.layers import layer_maps, layer_order
from suite.declarations.perturbation import Perturbation

MOST_SCALES = 3  # values of σw side by side: the smallest, the middle, the largest
DEFINITION = (
    "Cosine of each kernel W to its initial kernel W₀, ⟨W, W₀⟩ / (‖W‖ ‖W₀‖), the mean over seeds: "
    "1 where a kernel is the initial one or only shrank, near 0 where nothing of its direction is "
    "left."
)


def layers(source: Source, title: str) -> list[Part]:
    """A map of layers and leading clock for each recipe, and the table behind it."""
    _refuse_without_layers(source)
    found, perturbed = source.store, source.perturbation
    curves = layer_curves(found.runs, found.layers, recipes=source.recipes)
    forgotten = source.layers_forgotten
    curves_shown, forgotten_shown = (
        frame[frame[perturbed.name].isin(_shown(curves, perturbed))]
        for frame in (curves, forgotten)
    )
    said = [
        DEFINITION,
        "Layers from the input upwards, on the recipe's leading clock. A dot: where the mean has "
        "fallen to ½, between measured epochs along their logarithm.",
        _left_out(curves, perturbed),
    ]
    pages = layer_maps(curves_shown, forgotten_shown, title, perturbed)
    return [
        Part(said, page, curves if number == 1 else None, f"{number}" if len(pages) > 1 else "")
        for number, page in enumerate(pages, start=1)
    ]


def layers_forgotten(source: Source, title: str) -> list[Part]:
    """What is left of each layer, and which is forgotten first; a page per set of layers."""
    _refuse_without_layers(source)
    perturbed, table = source.perturbation, source.layers_forgotten
    counts = table["status"].value_counts()
    said = [
        DEFINITION,
        "Shown is that of the returned model, and which layer's mean falls to ½ first; the table "
        "has when that is, on each recipe's own clock with its 95 % interval over seeds.",
        f"Of {len(table)} layers, counted by recipe and {perturbed.symbol}, "
        f"{counts.get('crossed', 0)} cross, "
        f"{counts.get('immediate', 0)} do within the first epoch, {counts.get('never', 0)} do not "
        f"within the training, {counts.get('undetermined', 0)} cannot be told.",
        _left_out(table, perturbed),
    ]
    pages = list(_same_layers(table))
    return [
        Part(
            said,
            layer_order(page[page[perturbed.name].isin(_shown(page, perturbed))], title, perturbed),
            table if number == 1 else None,
            f"{number}" if len(pages) > 1 else "",
        )
        for number, page in enumerate(pages, start=1)
    ]


def _refuse_without_layers(source: Source) -> None:
    known = set(source.store.runs["run_id"])
    if known.isdisjoint(source.store.layers["run_id"].unique()):
        raise CannotError(
            "no run has its layers: earlier versions did not measure them, and an export may be "
            "without them"
        )


def _shown(table: pd.DataFrame, perturbed: Perturbation) -> list[Any]:
    scales = perturbed.ordered(table[perturbed.name])
    if len(scales) <= MOST_SCALES:
        return scales
    return [scales[0], scales[len(scales) // 2], scales[-1]]


def _left_out(table: pd.DataFrame, perturbed: Perturbation) -> str:
    shown, count = _shown(table, perturbed), table[perturbed.name].nunique()
    if len(shown) == count:
        return ""
    return f"{len(shown)} of {count} {perturbed.symbol}; all are in the table."


def _same_layers(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of recipes that have the same layers, in the recipes' order."""
    layers = table.drop_duplicates(["recipe", "depth"]).sort_values("depth", kind="stable")
    of = layers.groupby("recipe", sort=False)["layer"].agg(tuple)
    for names in dict.fromkeys(of[name] for name in dict.fromkeys(table["recipe"])):
        yield table[table["recipe"].map(of) == names]
