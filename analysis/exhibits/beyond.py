"""Beyond the paper: our own kinds of exhibits, and those of them that are curves or maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from analysis.estimates.clock_axis import clock_frame
from analysis.estimates.forgetting_by_recipe import forgetting_times
from analysis.estimates.memory_by_epoch import memory_by_epoch
from analysis.exhibits import phase_diagram, predictions, recipe_tables
from analysis.exhibits.exhibit import BAND, SPREAD, Exhibit, absent, caption
from analysis.exhibits.law import forgetting_law
from analysis.exhibits.layers import layers, layers_forgotten
from analysis.exhibits.part import CannotError, Part, refuse_categories, refuse_one_scale
from analysis.exhibits.source import Source
from analysis.exhibits.source_choice import Sources
from analysis.exhibits.symbol import PERTURBED, with_symbol
from analysis.figures.forgetting import forgetting_times_figure
from analysis.figures.memory_by_epoch import memory_by_epoch_pages
from suite.declarations.perturbation import SIGMA_W

SEEDS_FOR_RETURNS = 5  # with fewer, half to a third of returns are missed (docs/METHODS.md)
DEMO = "python -m suite.grid --experiment demo"


def own_exhibits(sources: Sources) -> Iterator[Exhibit]:
    """Of each kind one for every experiment that allows it; one line where none does."""
    for name, (title, make) in KINDS.items():
        reasons = []
        made = False
        for source in sources.values():
            try:
                own = with_symbol(title, source)
                parts = make(source, f"{phase_diagram.plain_text(source.experiment)}: {own}")
            except CannotError as error:
                reasons.append(f"{source.experiment}: {error}")
                continue
            for part in parts:
                made = True
                stem = name.replace(PERTURBED, source.perturbation.stem)
                yield Exhibit(
                    f"{stem}-{part.page}" if part.page else stem,
                    own + (f": {part.page}" if part.page else ""),
                    "",
                    source.experiment,
                    caption(part.caption, [source]),
                    part.figure,
                    part.table,
                )
        if not made:
            first = next(iter(sources.values()), None)
            stem = name.replace(PERTURBED, (first.perturbation if first else SIGMA_W).stem)
            why = "; ".join(reasons) or f"needs runs: {DEMO}"
            yield absent(stem, with_symbol(title, first), "", why)


def _accuracy(source: Source, title: str) -> list[Part]:
    found = source.estimates
    columns = ["recipe", source.perturbation.name, "mean", "sd", "low", "high", "p10", "p90", "n"]
    columns += ["diverged", "untrained"]
    said = ["Test accuracy at τ_best, the epoch of the lowest validation loss.", BAND, SPREAD]
    return [Part(said, phase_diagram.accuracies(found, title), found.scales[columns])]


def _phase_diagram(source: Source, title: str) -> list[Part]:
    refuse_one_scale(source)
    found = source.estimates
    said = [
        "Memory of each recipe (corrected, with its 95 % interval) against each clock at the end "
        "of training. Coloured points are governed by the clock and decide its boundary, where the "
        "best decreasing curve through them falls through half of the largest memory; its interval "
        "is a bootstrap over recipes and seeds that holds all between the last clock value that "
        "remembers and the first that forgets. Grey dots are governed by another clock; a clock "
        "that does not vary, or governs no recipe, has no panel.",
        *(f"{line}." for line in phase_diagram.boundary_lines(found)),
    ]
    return [Part(said, phase_diagram.by_clock(found, title), found.boundaries)]


def _collapse(source: Source, title: str) -> list[Part]:
    refuse_categories(source)
    refuse_one_scale(source)
    found = source.estimates
    if found.collapses.empty:
        raise CannotError("no two recipes differ in their batch size alone")
    said = [
        "|β(t)|, the slope of validation accuracy on {perturbed}, above against epochs, below on "
        "the clock that is to govern the recipe. S is the distance of the curves from one another "
        "in errors (Houdayer and Hartmann) and 0.05 decades, near 1 where they fall together, "
        "with its 95 % interval; dex: how far they are apart beyond their errors, in decades of "
        "|β|."
    ]
    pages = phase_diagram.collapses(found, title)
    front = ["family", "axis", "verdict", "reason", "quality", "quality_low", "quality_high"]
    front.append("distance")
    table = found.collapses[[*front, *(name for name in found.collapses if name not in front)]]
    return [
        Part(said, page, table if number == 1 else None, f"{number}" if len(pages) > 1 else "")
        for number, page in enumerate(pages, start=1)
    ]


def _forgetting_times(source: Source, title: str) -> list[Part]:
    refuse_categories(source)
    refuse_one_scale(source)
    times = forgetting_times(source.store.runs, source.store.history, recipes=source.recipes)
    table = source.about[["recipe", "optimizer"]].merge(times, on="recipe")
    counts = times["status"].value_counts()
    said = [
        "The value of each recipe's own clock at which its |β| has fallen to 1/e of its peak, with "
        "the 95 % interval over seeds; open to the right where it may not have fallen by the end.",
        f"{counts.get('crossed', 0)} of {len(times)} recipes cross, {counts.get('never', 0)} do "
        f"not within their training (censored), {counts.get('immediate', 0)} do before the second "
        f"epoch, {counts.get('undetermined', 0)} cannot be told; of "
        f"{counts.get('returns', 0) + counts.get('changes sign', 0)} |β| rises above that level "
        "again, or changes its sign, and nothing is forgotten.",
        "With fewer than five seeds such a return is often not seen."
        if int(times["seeds"].min()) < SEEDS_FOR_RETURNS
        else "",
    ]
    return [Part(said, forgetting_times_figure(table, title), table)]


def _memory_by_epoch(source: Source, title: str) -> list[Part]:
    refuse_one_scale(source)
    found = source.store
    table = memory_by_epoch(found.runs, found.history, recipes=source.recipes)
    clocks = clock_frame(found.runs, recipes=source.recipes)
    known = source.estimates.recipes[["recipe", "family", "batch_size", "own_clock"]]
    whole = table.merge(clocks, on=["recipe", "epoch"]).merge(known, on="recipe")
    said = [
        "The spread of mean validation accuracy over {perturbed} at each epoch, corrected for "
        "what noise adds to it, with its 95 % interval; above against epochs, below on the clock "
        "that is to govern the recipe. Zero where {perturbed} is forgotten, whatever the shape of "
        "its effect was.",
    ]
    pages = memory_by_epoch_pages(whole, title)
    return [
        Part(said, page, whole if number == 1 else None, f"{number}" if len(pages) > 1 else "")
        for number, page in enumerate(pages, start=1)
    ]


Maker = Callable[[Source, str], list[Part]]
KINDS: Mapping[str, tuple[str, Maker]] = {
    f"accuracy-by-{PERTURBED}": ("How much of {perturbed} survives training", _accuracy),
    "memory": ("Memory of every recipe", recipe_tables.memory),
    "phase-diagram": ("Memory against the forgetting clocks", _phase_diagram),
    "collapse": ("Sensitivity to {perturbed} on epochs and clock", _collapse),
    "forgetting-times": ("When {perturbed} is forgotten", _forgetting_times),
    "forgetting-law": ("The forgetting law", forgetting_law),
    "memory-by-epoch": ("Memory in the course of training", _memory_by_epoch),
    "dose-response": (
        "Accuracy against {perturbed}, more than a line",
        recipe_tables.dose_response,
    ),
    "variance": ("Where the variance of accuracy goes", recipe_tables.variance),
    "function-memory": ("Memory of the function", predictions.function),
    "agreement": ("Which {perturbed} predict alike", predictions.agreement),
    "layers": ("Where the start survives, layer by layer", layers),
    "layers-forgotten": ("Which layers forget first", layers_forgotten),
    "radial-memory": ("What is left of the initial kernel norm", recipe_tables.radial_memory),
}
