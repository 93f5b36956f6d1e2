"""Figures 5, 7 and 8 and Tables 5 and 6: other architectures, normalizations and augmentations.

An experiment that varies one of them is laid beside its baseline (ResNet-9, BatchNorm, no
augmentation), which the paper takes from the main grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.estimates.recipe_labels import word
from analysis.exhibits.columns import accuracies, stacked, with_fitting
from analysis.exhibits.exhibit import BAND, DEVIATION, SPREAD, Exhibit, absent, caption, needs
from analysis.exhibits.source import Source
from analysis.exhibits.source_choice import Sources, best_source, elsewhere, experiment_names
from analysis.exhibits.symbol import with_symbol
from analysis.figures.scale_panels import ScalePanel, optimizer_name, scale_grid, variant_looks
from analysis.figures.style import OPTIMIZERS
from suite.declarations.config import RunConfig
from suite.declarations.network_settings import RESNETS

MAIN = "main"
SHOWN_RULES = ("sgd", "adam")  # of the paper's figures
MODEL_NAMES = {
    "resnet9": "ResNet-9",
    "r9-avgpool": "R9-AvgPool",
    "resnet56": "ResNet-56",
    "resnet110": "ResNet-110",
}
NUMBERS = ["mean", "sd", "low", "high", "p10", "p90", "n", "diverged"]


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes
    ----------
    experiment
        The paper's.
    settings
        In which its variants differ.
    name
        A row of settings to what its variant is called.
    baseline
        A recipe to the one it is compared with.
    wanted
        What an experiment must have.
    """

    experiment: str
    settings: tuple[str, ...]
    name: Callable[[Mapping[str, object]], str]
    baseline: Callable[[RunConfig], RunConfig]
    wanted: str


def _model_name(row: Mapping[str, object]) -> str:
    return MODEL_NAMES.get(str(row["model"]), str(row["model"]))


def _resnet9(config: RunConfig) -> RunConfig:
    return config.with_(model=RESNETS[0], width=0, early_stopping_patience=0)


def _norm_name(row: Mapping[str, object]) -> str:
    return f"{word('norm', row['norm'])}, {word('augmentation', row['augmentation'])}"


def _plain(config: RunConfig) -> RunConfig:
    return config.with_(norm="batch", augmentation="none")


DEPTH = Comparison("depth", ("model",), _model_name, _resnet9, "runs of several architectures")
NORM = Comparison(
    "norm-aug",
    ("norm", "augmentation"),
    _norm_name,
    _plain,
    "runs with several normalizations or augmentations",
)


def figure_5(sources: Sources) -> Exhibit:
    """Test accuracy against σw by architecture."""
    return _figure(
        sources,
        DEPTH,
        5,
        "Test accuracy against {perturbed} by architecture",
        "test_accuracy",
        "Test accuracy at τ_best against {perturbed}. R9-AvgPool is ResNet-9 with average pooling, "
        "which tells the effect of pooling from that of depth.",
    )


def figure_7(sources: Sources) -> Exhibit:
    """Train accuracy against σw by architecture."""
    return _figure(
        sources,
        DEPTH,
        7,
        "Train accuracy against {perturbed} by architecture",
        "train_accuracy_final",
        "Train accuracy in the last epoch against {perturbed}; runs with early stopping end before "
        "the others.",
    )


def figure_8(sources: Sources) -> Exhibit:
    """Test accuracy against σw by normalization and augmentation."""
    return _figure(
        sources,
        NORM,
        8,
        "Test accuracy against {perturbed} by normalization and augmentation",
        "test_accuracy",
        "Test accuracy at τ_best against {perturbed}.",
    )


def table_5(sources: Sources) -> Exhibit:
    """Accuracy, spread and epochs by architecture."""
    title = "Architectures: accuracy by {perturbed}, spread, and when they fit"
    return _table(sources, DEPTH, 5, title)


def table_6(sources: Sources) -> Exhibit:
    """Accuracy and spread by normalization and augmentation."""
    title = "Normalization and augmentation: accuracy by {perturbed}, and spread"
    return _table(sources, NORM, 6, title)


def _figure(
    sources: Sources, compared: Comparison, number: int, title: str, quantity: str, what: str
) -> Exhibit:
    name, place = f"figure-{number}", f"Figure {number}"
    found = _sources(sources, compared)
    if not found:
        return absent(name, title, place, needs(compared.wanted, compared.experiment))
    title, perturbed = with_symbol(title, found[0]), found[0].perturbation
    table = pd.concat(
        [_named(one.quantity(quantity), one, compared) for one in found], ignore_index=True
    )
    rules, sizes = _shown_rules(table), sorted(int(size) for size in table["batch_size"].unique())
    baseline = _baseline_name(found, compared)
    lines = list(dict.fromkeys(table["line"]))
    drawn = table[table["optimizer"].isin(rules)]
    label = {"test_accuracy": "test accuracy at τ_best"}.get(quantity, "train accuracy, last epoch")
    panels = [
        [
            ScalePanel(
                f"{optimizer_name(rule)}, batch size {size}",
                label,
                drawn[(drawn["optimizer"] == rule) & (drawn["batch_size"] == size)],
                "fraction",
            )
            for size in sizes
        ]
        for rule in rules
    ]
    looks = variant_looks(_in_order(lines), baseline)
    text = caption(
        [what, BAND, _left_out(table, rules), *_lacking(found, compared)],
        found,
        compared.experiment,
    )
    columns = ["experiment", *compared.settings, "optimizer", "batch_size", perturbed.name]
    return Exhibit(
        name,
        title,
        place,
        experiment_names(found),
        text,
        scale_grid(panels, looks, title, share="all", perturbation=perturbed),
        table[[*columns, *NUMBERS]],
    )


def _table(sources: Sources, compared: Comparison, number: int, title: str) -> Exhibit:
    name, place = f"table-{number}", f"Table {number}"
    found = _sources(sources, compared)
    if not found:
        return absent(name, title, place, needs(compared.wanted, compared.experiment))
    depth = compared is DEPTH
    parts = []
    for one in found:
        part = accuracies(one, compared.settings, "train_accuracy_final" if depth else "")
        parts.append(with_fitting(part, one) if depth else part)
    sentences = ["Test accuracy at τ_best by {perturbed}.", DEVIATION, SPREAD]
    if depth:
        sentences.append(
            "Train: mean train accuracy in the last epoch over all {perturbed}. τ_interp: median "
            "over seeds, ∞ where half of them or more never reach 99.5 % train accuracy, with the "
            "median's 95 % interval (none below six seeds). τ_best: mean with its 95 % t interval."
        )
    text = caption([*sentences, *_lacking(found, compared)], found, compared.experiment)
    title = with_symbol(title, found[0])
    return Exhibit(name, title, place, experiment_names(found), text, table=stacked(parts))


def _sources(sources: Sources, compared: Comparison) -> list[Source]:
    """The experiment, then the baseline where another one has it."""

    def supports(source: Source) -> bool:
        return source.several_scales() and source.varies(*compared.settings)

    found = best_source(sources, compared.experiment, supports)
    if found is None and compared.experiment in sources:  # one variant and its baseline
        found = sources[compared.experiment]
    if found is None or not found.several_scales():
        return []
    wanted = {
        c.fingerprint: c for c in (compared.baseline(recipe.config) for recipe in found.recipes)
    }
    absent_here = [wanted[name] for name in wanted if name not in found.by_fingerprint]
    other = elsewhere(sources, found, absent_here)
    return [found] if other is None else [found, other]


def _named(table: pd.DataFrame, source: Source, compared: Comparison) -> pd.DataFrame:
    lines = source.lines(compared.name)
    return table.assign(line=table["recipe"].map(lines), experiment=source.experiment)


def _baseline_name(found: Sequence[Source], compared: Comparison) -> str:
    """What the baseline is called, if it is among the runs; else empty."""
    recipes = [recipe for source in found for recipe in source.recipes]
    name = compared.name(compared.baseline(recipes[0].config).model_dump())
    there = {compared.name(recipe.config.model_dump()) for recipe in recipes}
    return name if name in there else ""


def _in_order(lines: Sequence[str]) -> list[str]:
    known = [name for name in MODEL_NAMES.values() if name in lines]
    return [*known, *(name for name in lines if name not in known)]


def _shown_rules(table: pd.DataFrame) -> list[str]:
    there = sorted(set(table["optimizer"]), key=lambda name: [*OPTIMIZERS, name].index(name))
    return [rule for rule in SHOWN_RULES if rule in there] or there[:2]


def _left_out(table: pd.DataFrame, rules: Sequence[str]) -> str:
    others = sorted(set(table["optimizer"]) - set(rules))
    names = ", ".join(optimizer_name(rule) for rule in others)
    return f"{names}: numbers in the table only." if others else ""


def _lacking(found: Sequence[Source], compared: Comparison) -> list[str]:
    if len(found) > 1 or _baseline_name(found, compared):
        return []
    return [f"Without its baseline, which {MAIN} supplies."]
