"""Figure 6: β(t) of rules against epochs, and of batch sizes on the clock that governs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.exhibits.exhibit import Exhibit, absent, caption, first_of, needs
from analysis.exhibits.main_grid import MAIN, WANTED, family_order, grid_source
from analysis.exhibits.part import CannotError, refuse_categories
from analysis.exhibits.source import Source
from analysis.exhibits.source_choice import Sources, two_sizes
from analysis.exhibits.symbol import with_symbol
from analysis.figures.collapse import collapse_number
from analysis.figures.scale_panels import batch_looks, optimizer_looks
from analysis.figures.sensitivity import SensitivityPanel, sensitivity_page
from analysis.figures.style import Look, recipe_name
from suite.declarations.perturbation import Perturbation
from suite.declarations.update_constants import ADAPTIVE

SWEEP = "lr-l2"
PAPER_L2 = (1e-2, 1e-2)  # learning rate and λ of the paper's example
TITLE = "Sensitivity to {perturbed} during training, against epochs and on each mechanism's clock"
MOST_RULES = 6
POINTS = 20  # of each curve in the table
COLUMNS = ["family", "batch_size", "epoch", "T_SGD", "T_L2", "T_adapt", "beta", "low", "high"]
COLUMNS += ["standard_error", "floor", "runs", "seeds", "diverged"]


@dataclass(frozen=True)
class _Family:
    """Recipes that differ in batch size alone, and the experiment they are from."""

    source: Source
    name: str
    betas: pd.DataFrame
    clock: str

    @property
    def runs(self) -> Source | None:
        """Their runs alone."""
        labels = set(self.betas["recipe"])
        return self.source.only(lambda recipe: recipe.label in labels)


def figure_6(sources: Sources) -> Exhibit:
    """abs(β) against epochs, by family and batch size, and on the clocks."""
    source = grid_source(sources)
    if source is None:
        return absent("figure-6", TITLE, "Figure 6", needs(WANTED, MAIN))
    try:
        refuse_categories(source)
    except CannotError as error:
        return absent("figure-6", TITLE, "Figure 6", f"{source.experiment}: {error}")
    title = with_symbol(TITLE, source)
    families = _families(source)
    with_l2 = _families_with_l2(sources, source.perturbation)
    shown = families[:MOST_RULES] + [one for one in with_l2 if one not in families[:MOST_RULES]]
    looks = optimizer_looks({one.name: str(one.betas["optimizer"].iloc[0]) for one in shown})
    everything = pd.concat([one.betas.assign(line=one.name) for one in shown])
    epochs = []
    for size in two_sizes(source):
        here = everything[everything["batch_size"] == size]
        parts = {
            "SGD family": here[~here["optimizer"].isin(ADAPTIVE)],
            "adaptive rules": here[here["optimizer"].isin(ADAPTIVE)],
        }
        epochs.append(
            [
                SensitivityPanel(f"{family}, batch size {size}", "epoch", table)
                for family, table in parts.items()
                if table["beta"].notna().any()
            ]
        )
    clocks = _on_clocks(families, with_l2)
    sizes = sorted({int(size) for panel in clocks for size in panel.table["batch_size"]})
    all_looks: dict[str, Look] = {**looks, **batch_looks(sizes)}
    figure = sensitivity_page(
        [*(row for row in epochs if row), clocks], all_looks, title, source.perturbation
    )
    used = list({one.source.experiment: one.source for one in shown}.values())
    extra = [one.runs for one in with_l2 if one.source is not source]
    text = caption(
        [
            "|β(t)|: absolute slope of validation accuracy at epoch t on {perturbed}, over all "
            "{perturbed} and seeds; bands are 95 % intervals with the seed as the cluster (none "
            "for one seed). Dotted: what noise alone would show. Below: every batch size on the "
            "clock that is to govern it, summed over the true rates of all steps. S is the "
            "distance of the curves from one another in errors, near 1 where they fall together.",
            first_of([one.name for one in families], MOST_RULES, "recipes"),
            "" if with_l2 else f"Without L2, which {SWEEP} supplies.",
            f"The table has up to {POINTS} epochs of each curve.",
        ],
        [source, *(one for one in extra if one is not None)],
        MAIN,
    )
    names = ", ".join(one.experiment for one in used)
    return Exhibit("figure-6", title, "Figure 6", names, text, figure, _thinned(everything))


def _families(source: Source) -> list[_Family]:
    by_family = dict(list(source.estimates.betas.groupby("family", sort=False)))
    return [
        _Family(source, recipe_name(name), rows, str(rows["own_clock"].iloc[0]))
        for name, rows in ((name, by_family[name]) for name in family_order(source))
    ]


def _families_with_l2(sources: Sources, perturbed: Perturbation) -> list[_Family]:
    """The family of the paper's recipe with L2, or that of the strongest decay; empty if none."""
    for source in sorted(sources.values(), key=lambda one: one.experiment != SWEEP):
        about = source.about[(source.about["kernel_l2"] > 0) & (source.about["optimizer"] == "sgd")]
        if source.perturbation != perturbed or about.empty or not source.several_scales():
            continue
        settings = about[["learning_rate", "kernel_l2"]].to_numpy(dtype=np.float64)
        paper = np.isclose(settings, PAPER_L2).all(1)
        chosen = about.iloc[int(np.where(paper, np.inf, settings.prod(1)).argmax())]
        betas = source.estimates.betas
        rows = betas[betas["family"] == chosen["family"]]
        name = f"SGD, η={chosen['learning_rate']:g}, λ={chosen['kernel_l2']:g}"
        return [_Family(source, name, rows, "T_L2")]
    return []


def _on_clocks(families: list[_Family], with_l2: list[_Family]) -> list[SensitivityPanel]:
    """The first family of each clock, at all its batch sizes."""
    panels = []
    for clock in ("T_SGD", "T_L2", "T_adapt"):
        pool = with_l2 if clock == "T_L2" else [one for one in families if one.clock == clock]
        if not pool:
            continue
        one = pool[0]
        table = one.betas.assign(line=[f"b = {size}" for size in one.betas["batch_size"]])
        panels.append(SensitivityPanel(f"{one.name}\n{_collapse(one, clock)}", clock, table))
    return panels


def _collapse(one: _Family, clock: str) -> str:
    found = one.source.estimates.collapses
    measured = found[(found["family"] == one.betas["family"].iloc[0]) & (found["axis"] == clock)]
    return collapse_number(measured, int(one.betas["batch_size"].nunique()))


def _thinned(betas: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for _, rows in betas.groupby(["line", "batch_size"], sort=False):
        places = np.geomspace(1, len(rows), min(POINTS, len(rows))).round().astype(int) - 1
        parts.append(rows.sort_values("epoch").iloc[np.unique(places)])
    table = pd.concat(parts, ignore_index=True)
    return table.assign(family=table["line"])[COLUMNS]
