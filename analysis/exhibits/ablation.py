"""Figure 4, Tables 4 and 7: what learning rate, L2, long training and tuning do to memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.exhibits.columns import accuracies, stacked, with_fitting
from analysis.exhibits.exhibit import BAND, DEVIATION, SPREAD, Exhibit, absent, caption, needs
from analysis.exhibits.source import Source, declared_recipes
from analysis.exhibits.source_choice import Sources, best_source, elsewhere, experiment_names
from analysis.exhibits.symbol import with_symbol
from analysis.figures.ablation import rate_looks, spread_figure
from analysis.figures.scale_panels import optimizer_looks, optimizer_name
from analysis.figures.style import Look
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.paper_experiments import PAPER_RUN
from suite.declarations.update_constants import ADAPTIVE

SWEEP, LONG, MAIN, BEST = "lr-l2", "long", "main", "best"
WANTED = "runs of SGD at several learning rates or λ"
TITLE = "SGD by learning rate, L2 and length of training"
TUNED_TITLE = "Tuned procedures at the two extreme {perturbed}"
LEAD = ("learning_rate", "kernel_l2")


def figure_4(sources: Sources) -> Exhibit:
    """Accuracy against σw and the spreads, by learning rate and λ."""
    found = _sources(sources)
    if not found:
        return absent("figure-4", TITLE, "Figure 4", needs(WANTED, SWEEP))
    lines, spreads, looks = _drawn(found)
    text = caption(
        [
            "Left: test accuracy at τ_best against {perturbed}. Right: spreads in ascending order, "
            "black lines the intervals. Colour: learning rate; dashes and marker: λ.",
            BAND,
            SPREAD,
            *_lacking(found),
        ],
        found,
        SWEEP,
    )
    return Exhibit(
        "figure-4",
        TITLE,
        "Figure 4",
        experiment_names(found),
        text,
        spread_figure(lines, spreads, looks, TITLE, found[0].perturbation),
        spreads.drop(columns="recipe"),
    )


def table_4(sources: Sources) -> Exhibit:
    """Accuracy by σw of every learning rate and λ."""
    title = "SGD by learning rate and λ, beside Adam and long training"
    found = _sources(sources)
    if not found:
        return absent("table-4", title, "Table 4", needs(WANTED, SWEEP))
    table = stacked([_by_size(one) for one in found])
    if len(found) > 1:
        table.insert(0, "experiment", np.repeat(*_experiments(found)))
    text = caption(
        [
            "Test accuracy at τ_best by {perturbed}.",
            DEVIATION,
            SPREAD,
            "Train: mean train accuracy at τ_best over all {perturbed}.",
            *_lacking(found),
        ],
        found,
        SWEEP,
    )
    return Exhibit("table-4", title, "Table 4", experiment_names(found), text, table=table)


def table_7(sources: Sources) -> Exhibit:
    """Accuracy at both σw, their difference, and the epochs."""
    found = best_source(sources, BEST, _tuned)
    if found is None:
        what = "runs of SGD with momentum, L2 and augmentation at two σw"
        return absent("table-7", TUNED_TITLE, "Table 7", needs(what, BEST))
    scales = found.scale_values()
    source = found.at([scales[0], scales[-1]])
    table = with_fitting(accuracies(source, LEAD), source)
    table = table.rename(columns=_difference)
    text = caption(
        [
            "Test accuracy at τ_best by {perturbed}.",
            DEVIATION,
            "|Δ|: absolute difference of the means at the two {perturbed}, which noise makes too "
            "large; in brackets the 95 % interval of the true difference, which allows for that. "
            "τ_interp: median over seeds, ∞ where half of them or more never reach 99.5 % train "
            "accuracy, with the median's 95 % interval (none below six seeds). τ_best: mean with "
            "its 95 % t interval.",
        ],
        [source],
        BEST,
    )
    title = with_symbol(TUNED_TITLE, source)
    return Exhibit("table-7", title, "Table 7", source.experiment, text, table=table)


def _by_size(source: Source) -> pd.DataFrame:
    table = accuracies(source, LEAD, "train_accuracy_best")
    return table.sort_values("b", kind="stable")


def _sources(sources: Sources) -> list[Source]:
    """The sweep, then the long training and the Adam baseline where other experiments have them."""
    sweep = best_source(sources, SWEEP, _varies_for_sgd, lambda source: len(source.recipes))
    if sweep is None:
        return []
    sizes = {recipe.config.batch_size for recipe in sweep.recipes}
    long = [
        config
        for fingerprint, config in declared_recipes(EXPERIMENTS[LONG], sweep.perturbation).items()
        if config.batch_size in sizes and fingerprint not in sweep.by_fingerprint
    ]
    # The paper's Adam at the sweep's own data, model and length.
    rate = PAPER_RUN["learning_rate"]
    adam = [
        recipe.config.with_(optimizer="adam", learning_rate=rate, kernel_l2=0.0)
        for recipe in sweep.recipes
        if recipe.config.optimizer == "sgd"
    ]
    others = [elsewhere(sources, sweep, long), elsewhere(sources, sweep, adam)]
    return [sweep, *(source for source in others if source is not None)]


def _varies_for_sgd(source: Source) -> bool:
    sgd = source.about[~source.about["optimizer"].isin(ADAPTIVE)]
    by_rule = sgd.groupby(["optimizer", "batch_size"])[["learning_rate", "kernel_l2"]].nunique()
    return source.several_scales() and bool((by_rule > 1).any(axis=None))


def _drawn(found: Sequence[Source]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Look]]:
    """What is drawn: accuracies, spreads, and the look of each line."""
    lines, spreads = [], []
    looks: dict[str, Look] = {}
    for source in found:
        names = source.lines(partial(_name, source=source, sweep=found[0]))
        tests = source.quantity("test_accuracy")
        lines.append(tests.assign(line=tests["recipe"].map(names)))
        spreads.append(source.memory.assign(line=source.memory["recipe"].map(names)))
        looks |= _looks(source, found[0], names)
    wanted = ["batch_size", "line", found[0].perturbation.name, "mean", "p10", "p90"]
    kept = ["recipe", "line", "optimizer", "batch_size", "learning_rate", "kernel_l2", "memory"]
    kept += ["corrected", "low", "high", "p_value", "seeds", "scales", "diverged"]
    return pd.concat(lines)[wanted], pd.concat(spreads, ignore_index=True)[kept], looks


def _looks(source: Source, sweep: Source, names: Mapping[Any, str]) -> dict[str, Look]:
    rules: dict[str, str] = {}
    long: dict[str, Look] = {}
    swept: dict[str, tuple[float, float]] = {}
    row: Any  # a named tuple of pandas
    for row in source.about.itertuples():
        name = names[row.recipe]
        if row.optimizer in ADAPTIVE or (source is sweep and source.varies("optimizer")):
            rules[name] = str(row.optimizer)
        elif source is sweep:
            swept[name] = (row.learning_rate, row.kernel_l2)
        else:
            long[name] = Look("black", "X", (0, (1, 1.2)))
    about = sweep.about
    return rate_looks(swept, set(about["learning_rate"]), set(about["kernel_l2"])) | (
        long | optimizer_looks(rules)
    )


def _name(row: Mapping[str, Any], source: Source, sweep: Source) -> str:
    settings = f"η={row['learning_rate']:g}"
    if source is not sweep:
        if row["optimizer"] in ADAPTIVE:
            return f"{optimizer_name(row['optimizer'])}, {settings}"
        return f"SGD, {settings}, {row['epochs']:,} epochs"
    rule = f"{optimizer_name(row['optimizer'])}, " if source.varies("optimizer") else ""
    return f"{rule}{settings}, λ={row['kernel_l2']:g}"


def _lacking(found: Sequence[Source]) -> list[str]:
    if found[0].experiment != SWEEP:
        return []
    has = {str(rule) for one in found[1:] for rule in one.about["optimizer"]}
    lines = []
    if "sgd" not in has:
        lines.append(f"Without long training, which {LONG} supplies.")
    if "adam" not in has:
        lines.append(f"Without the Adam baseline, which {MAIN} supplies.")
    return lines


def _experiments(found: Sequence[Source]) -> tuple[list[str], list[int]]:
    """Their names, and how many recipes each has."""
    return [one.experiment for one in found], [len(one.about) for one in found]


def _tuned(source: Source) -> bool:
    about = source.about
    tuned = (about["optimizer"] == "momentum") & (about["kernel_l2"] > 0)
    augmented: pd.Series[bool] = about["augmentation"] != "none"
    return source.several_scales() and bool((tuned & augmented).any())


def _difference(name: str) -> str:
    return name.replace("spread", "|Δ|")
