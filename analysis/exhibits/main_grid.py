"""Figures 1 to 3 and Tables 2 and 3: what optimizers make of σw at several batch sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis.exhibits import phase_diagram
from analysis.exhibits.columns import checkpoints
from analysis.exhibits.exhibit import BAND, DEVIATION, Exhibit, absent, caption, first_of, needs
from analysis.exhibits.source import Source
from analysis.exhibits.source_choice import Sources, best_source, one_of_each, two_sizes
from analysis.exhibits.symbol import PERTURBED, with_symbol
from analysis.figures.scale_panels import ScalePanel, Unit, batch_looks, optimizer_looks, scale_grid
from analysis.figures.style import Look, recipe_name
from suite.declarations.perturbation import SIGMA_W

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAIN = "main"
WANTED = "runs at two σw or more"
MOST_LINES = 6
MOST_COLUMNS = 5
NUMBERS = ["mean", "low", "high", "p10", "p90", "n", "diverged"]
LINE = ["family", "batch_size"]


def grid_source(sources: Sources) -> Source | None:
    """The main grid, or what is most like it: several σw, and as many optimizers as can be had."""
    return best_source(
        sources, MAIN, Source.several_scales, lambda source: source.about["optimizer"].nunique()
    )


def figure_1(sources: Sources) -> Exhibit:
    """Test accuracy, generalization gap and kernel norm against σw at two batch sizes."""
    name, place, title = (
        "figure-1",
        "Figure 1",
        "Accuracy, generalization gap and kernel norm against {perturbed}",
    )
    source = grid_source(sources)
    if source is None:
        return absent(name, title, place, needs(WANTED, MAIN))
    title, perturbed = with_symbol(title, source), source.perturbation
    looks, left_out = _family_looks(source)
    quantities: Mapping[str, tuple[str, Unit]] = {
        "test accuracy at τ_best": ("test_accuracy", "fraction"),
        "train − test accuracy (pp)": ("generalization_gap", "pp"),
        "kernel norm ‖W‖ at τ_best": ("kernel_norm_best", "norm"),
    }
    norms = source.quantity("kernel_norm_initial")
    # Recipes that start at other norms have no one line between them.
    one_start = not source.other_initials
    initial = norms.groupby(perturbed.name)["mean"].mean().reset_index() if one_start else None
    panels, sizes = [], two_sizes(source)
    for size in sizes:
        row = []
        for label, (quantity, unit) in quantities.items():
            table = _lines(source.quantity(quantity))
            row.append(
                ScalePanel(
                    f"batch size {size}",
                    label,
                    table[table["batch_size"] == size],
                    unit,
                    initial if unit == "norm" else None,
                )
            )
        panels.append(row)
    reference = "initial kernel norm" if one_start else ""
    figure = scale_grid(
        panels, looks, title, share="col", reference=reference, perturbation=perturbed
    )
    names = ["kernel_norm_initial", *(quantity for quantity, _ in quantities.values())]
    numbers = source.scales[source.scales["quantity"].isin(names)]
    text = caption(
        [
            "Left: test accuracy at τ_best, the epoch of the lowest validation loss. Middle: train "
            "minus test accuracy there. Right: Frobenius norm of all kernels there"
            + ("; the dashed line is that before training." if one_start else "."),
            BAND,
            left_out,
            _shown_sizes(source, sizes),
        ],
        [source],
        MAIN,
    )
    table = numbers[[*LINE, perturbed.name, "quantity", *NUMBERS]]
    return _made(name, title, place, source, text, figure, table)


def figure_2(sources: Sources) -> Exhibit:
    """The heat map of test accuracy."""
    name, place = "figure-2", "Figure 2"
    title = "Test accuracy by optimizer, batch size and {perturbed}"
    source = grid_source(sources)
    if source is None:
        return absent(name, title, place, needs(WANTED, MAIN))
    title = with_symbol(title, source)
    table = source.estimates.scales
    unfitted = int((table["mean"].notna() & ~table["fitted_at_best"]).sum())
    failing = int((table[["diverged", "untrained"]].sum(axis=1) > 0).sum())
    text = caption(
        [
            "Test accuracy at τ_best, mean over seeds, one colour scale for all panels.",
            f"× ({unfitted} of {len(table)} cells): mean train accuracy at τ_best is below 99.5 %. "
            f"▽ ({failing} cells): some runs diverged, or learned next to nothing (accuracy below "
            "twice that of a guess). Hatched: no run.",
        ],
        [source],
        MAIN,
    )
    figure = phase_diagram.heat_map(source.estimates, title)
    columns = [
        *LINE,
        source.perturbation.name,
        *NUMBERS,
        "untrained",
        "train_accuracy_best",
        "fitted_at_best",
    ]
    return _made(name, title, place, source, text, figure, table[columns])


def figure_3(sources: Sources) -> Exhibit:
    """Interpolation epoch and repair gap against σw."""
    name, place = "figure-3", "Figure 3"
    title = "When the labels are fitted, and what validation accuracy gains after it"
    source = grid_source(sources)
    if source is None:
        return absent(name, title, place, needs(WANTED, MAIN))
    times, gaps = source.fitting_time, source.quantity("repair_gap")
    families = family_order(source)
    sizes = sorted(int(size) for size in source.about["batch_size"].unique())
    looks = batch_looks(sizes)
    shown: Sequence[tuple[str, pd.DataFrame, Unit]] = (
        ("τ_interp (epochs)", times, "epoch"),
        ("repair gap (pp)", gaps, "pp"),
    )
    panels = [
        [
            ScalePanel(recipe_name(family), label, _by_size(table, family), unit)
            for family in families[:MOST_COLUMNS]
        ]
        for label, table, unit in shown
    ]
    reached, runs = int(times["reached"].sum()), int(times["n"].sum())
    text = caption(
        [
            "Above: median over seeds of τ_interp, the first epoch with at least 99.5 % train "
            f"accuracy; {runs - reached} of {runs} runs never reach it and count as later than all "
            "others. Below: repair gap, validation accuracy at τ_best minus at τ_interp, mean over "
            "the runs that have both. Bands reach from the 10th to the 90th percentile over seeds.",
            first_of(families, MOST_COLUMNS, "recipes"),
        ],
        [source],
        MAIN,
    )
    both = [
        times.assign(quantity="interpolation_epoch"),
        gaps.assign(quantity="repair_gap").drop(columns="sd"),
    ]
    perturbed = source.perturbation
    table = pd.concat(both)[[*LINE, perturbed.name, "quantity", *NUMBERS, "reached"]]
    figure = scale_grid(panels, looks, title, perturbation=perturbed)
    return _made(name, title, place, source, text, figure, table)


def table_2(sources: Sources) -> Exhibit:
    """Validation accuracy at three checkpoints, small σw."""
    return _checkpoint_table(sources, 2, 0)


def table_3(sources: Sources) -> Exhibit:
    """Validation accuracy at three checkpoints, large σw."""
    return _checkpoint_table(sources, 3, -1)


def _checkpoint_table(sources: Sources, number: int, place: int) -> Exhibit:
    source = grid_source(sources)
    perturbed = SIGMA_W if source is None else source.perturbation
    which = (("smallest", "largest") if perturbed.numeric else ("first", "last"))[place]
    title = f"Validation accuracy at three checkpoints for the {which} {PERTURBED}"
    if source is None:
        return absent(f"table-{number}", title, f"Table {number}", needs(WANTED, MAIN))
    scale = source.scale_values()[place]
    text = caption(
        [
            f"{perturbed.symbol} = {perturbed.value(scale)}.",
            "Validation accuracy at τ_interp (first epoch with 99.5 % train accuracy; mean over "
            "the runs that reach it), at τ_best (lowest validation loss) and in the last epoch, "
            "and test accuracy at τ_best.",
            DEVIATION,
            "Repair gap: at τ_best minus at τ_interp, in brackets the 95 % t interval of its mean.",
        ],
        [source],
        MAIN,
    )
    return Exhibit(
        f"table-{number}",
        with_symbol(f"{title}, {perturbed.value(scale)}", source),
        f"Table {number}",
        source.experiment,
        text,
        table=checkpoints(source, scale),
    )


def family_order(source: Source) -> list[str]:
    """The families (recipes whatever their batch size), one of each optimizer first."""
    return one_of_each(dict(zip(source.about["family"], source.about["optimizer"], strict=True)))


def _family_looks(source: Source) -> tuple[dict[str, Look], str]:
    optimizers = dict(zip(source.about["family"], source.about["optimizer"], strict=True))
    order = family_order(source)
    chosen = {recipe_name(name): optimizers[name] for name in order[:MOST_LINES]}
    return optimizer_looks(chosen), first_of(order, MOST_LINES, "recipes")


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(line=table["family"].map(recipe_name))


def _by_size(table: pd.DataFrame, family: str) -> pd.DataFrame:
    rows = table[table["family"] == family]
    return rows.assign(line=[f"b = {size}" for size in rows["batch_size"]])


def _shown_sizes(source: Source, sizes: Sequence[int]) -> str:
    there = sorted(source.about["batch_size"].unique())
    if len(there) == len(sizes):
        return ""
    shown = " and ".join(str(size) for size in sizes)
    return f"Batch sizes {shown} of {len(there)}; the numbers of all are in the table."


def _made(
    name: str,
    title: str,
    place: str,
    source: Source,
    text: str,
    figure: Figure,
    table: pd.DataFrame,
) -> Exhibit:
    return Exhibit(
        name, title, place, source.experiment, text, figure, table.reset_index(drop=True)
    )
