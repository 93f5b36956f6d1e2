"""Beyond the paper: the phase diagram, boundaries, collapses, forgetting times and the law."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis.estimates.clock_axis import clock_frame
from analysis.estimates.dose_response import dose_response
from analysis.estimates.forgetting_law import fit_law
from analysis.estimates.forgetting_time import forgetting_times
from analysis.estimates.memory_by_epoch import memory_by_epoch
from analysis.estimates.variance import variance_shares
from analysis.exhibits import phase_diagram
from analysis.exhibits.columns import named, spread
from analysis.exhibits.exhibit import BAND, SPREAD, Exhibit, absent, caption
from analysis.exhibits.source import Source, Sources
from analysis.figures.forgetting import forgetting_times_figure, law_figure
from analysis.figures.memory_by_epoch import memory_by_epoch_pages
from suite.basics.settings import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Z_95 = 1.96
SEEDS_FOR_RETURNS = 5  # with fewer, half to a third of returns are missed (docs/METHODS.md)
DEMO = "python -m suite.grid --experiment demo"


class CannotError(Exception):
    """The runs do not allow an exhibit; the message says why, in one line."""


@dataclass(frozen=True)
class _Part:
    """What a maker makes."""

    caption: list[str]
    figure: Figure | None
    table: pd.DataFrame | None
    page: str = ""  # of several: its number or name


def own_exhibits(sources: Sources) -> Iterator[Exhibit]:
    """Of each kind one for every experiment that allows it; one line where none does."""
    for name, (title, make) in KINDS.items():
        reasons = []
        made = False
        for source in sources.values():
            try:
                parts = make(source, f"{phase_diagram.plain_text(source.experiment)}: {title}")
            except CannotError as error:
                reasons.append(f"{source.experiment}: {error}")
                continue
            for part in parts:
                made = True
                yield Exhibit(
                    f"{name}-{part.page}" if part.page else name,
                    title + (f": {part.page}" if part.page else ""),
                    "",
                    source.experiment,
                    caption(part.caption, [source]),
                    part.figure,
                    part.table,
                )
        if not made:
            yield absent(name, title, "", "; ".join(reasons) or f"needs runs: {DEMO}")


def _accuracy(source: Source, title: str) -> list[_Part]:
    found = source.estimates
    columns = ["recipe", "sigma_w", "mean", "sd", "low", "high", "p10", "p90", "n"]
    columns += ["diverged", "untrained"]
    said = ["Test accuracy at τ_best, the epoch of the lowest validation loss.", BAND, SPREAD]
    return [_Part(said, phase_diagram.accuracies(found, title), found.scales[columns])]


def _memory(source: Source, title: str) -> list[_Part]:
    _refuse_one_scale(source)
    found = source.estimates
    rows = []
    for about, row in zip(
        source.about.to_dict("records"), found.recipes.to_dict("records"), strict=True
    ):
        one = named(about, source) | spread(row)
        one |= {
            "corrected (pp)": 100 * row["corrected"],
            "noise alone (pp)": 100 * row["noise_spread"],
        }
        one |= {"test images, at most ± (pp)": 100 * Z_95 * row["image_error"]}
        one |= {"p value": row["p_value"], "T_SGD": row["T_SGD"], "T_L2": row["T_L2"]}
        one |= {"T_adapt": row["T_adapt"], "seeds": row["seeds"], "σw": row["scales"]}
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
        "by permuting σw within seeds, studentized; from eight seeds on. Clocks: at the end of "
        "training. A diverged run counts as the model it returns, or as a guess if it has none; "
        "survivors alone: memory without such runs. Untrained: test accuracy below twice that of a "
        "guess.",
        verdict,
    ]
    return [_Part(said, figure, pd.DataFrame(rows))]


def _phase_diagram(source: Source, title: str) -> list[_Part]:
    _refuse_one_scale(source)
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
    return [_Part(said, phase_diagram.by_clock(found, title), found.boundaries)]


def _collapse(source: Source, title: str) -> list[_Part]:
    _refuse_one_scale(source)
    found = source.estimates
    if found.collapses.empty:
        raise CannotError("no two recipes differ in their batch size alone")
    said = [
        "|β(t)|, the slope of validation accuracy on σw, above against epochs, below on the clock "
        "that is to govern the recipe. S is the distance of the curves from one another in errors "
        "(Houdayer and Hartmann) and 0.05 decades, near 1 where they fall together, with its 95 % "
        "interval; dex: how far they are apart beyond their errors, in decades of |β|."
    ]
    pages = phase_diagram.collapses(found, title)
    front = ["family", "axis", "verdict", "reason", "quality", "quality_low", "quality_high"]
    front.append("distance")
    table = found.collapses[[*front, *(name for name in found.collapses if name not in front)]]
    return [
        _Part(said, page, table if number == 1 else None, f"{number}" if len(pages) > 1 else "")
        for number, page in enumerate(pages, start=1)
    ]


def _forgetting_times(source: Source, title: str) -> list[_Part]:
    _refuse_one_scale(source)
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
    return [_Part(said, forgetting_times_figure(table, title), table)]


def _law(source: Source, title: str) -> list[_Part]:
    _refuse_one_scale(source)
    try:
        law = fit_law(source.recipes, source.memory)
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
        "No prediction is above the largest memory of the others. Memories are taken as "
        "independent, though the seeds are the same.",
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
    return [_Part(said, figure, table), *_predictions(predicted)]


def _predictions(predicted: pd.DataFrame) -> list[_Part]:
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
    return [_Part(said, None, table, "predictions")]


def _dose_response(source: Source, _: str) -> list[_Part]:
    _refuse_one_scale(source)
    found = dose_response(source.store.runs, recipes=source.recipes)
    rows = []
    for about, row in zip(source.about.to_dict("records"), found.to_dict("records"), strict=True):
        one = named(about, source)
        for name, key in (("slope (pp per σw)", "slope"), ("per e-fold of σw (pp)", "log_slope")):
            one |= {name: 100 * row[key]}
            one |= {f"{name} {end}": 100 * row[f"{key}_{end}"] for end in ("low", "high")}
        one |= {"line: p value": row["lack_of_fit"]}
        one |= {"log line: p value": row["log_lack_of_fit"]}
        one |= {"lost (pp)": 100 * row["lost"]}
        one |= {f"lost (pp) {end}": 100 * row[f"lost_{end}"] for end in ("low", "high")}
        one |= {"σw at half": row["half"], "σw at half low": row["half_low"]}
        one |= {"σw at half high": row["half_high"]}
        rows.append(one | {"seeds": row["seeds"], "σw": row["scales"]})
    said = [
        "Test accuracy at τ_best against σw: least-squares slopes on σw and on log σw with their "
        "95 % intervals (seed as the cluster), and p values of these lines being enough "
        "(Hotelling's T² of the seeds' curvatures). Lost: accuracy at the smallest σw less that at "
        "the largest. σw at half: where half of it is lost, on the best monotone curve, with the "
        "95 % interval; none where the loss may be 0.",
    ]
    return [_Part(said, None, pd.DataFrame(rows))]


def _variance(source: Source, _: str) -> list[_Part]:
    _refuse_one_scale(source)
    found = variance_shares(source.store.runs, recipes=source.recipes)
    names = {"sigma_w": "σw (%)", "seed": "seed (%)", "rest": "σw × seed and rest (%)"}
    rows = []
    for about, row in zip(source.about.to_dict("records"), found.to_dict("records"), strict=True):
        one = named(about, source) | {"sd of all (pp)": 100 * row["deviation"]}
        for part, name in names.items():
            one |= {name: 100 * row[part]}
            one |= {f"{name} {end}": 100 * row[f"{part}_{end}"] for end in ("low", "high")}
        one |= {"noise at largest over smallest σw": row["trend_factor"]}
        one |= {"trend: p value": row["trend"]}
        rows.append(one | {"seeds": row["seeds"], "σw": row["scales"]})
    said = [
        "Of all that differs in test accuracy between the runs of a recipe: how much of the "
        "variance σw explains, how much the seed alike at all σw, and how much is left, with 95 % "
        "intervals (jackknife over seeds). Noise: how many times the standard deviation of runs at "
        "the smallest σw it is at the largest, and the p value of there being no trend (from five "
        "seeds on).",
    ]
    return [_Part(said, None, pd.DataFrame(rows))]


def _memory_by_epoch(source: Source, title: str) -> list[_Part]:
    _refuse_one_scale(source)
    found = source.store
    table = memory_by_epoch(found.runs, found.history, recipes=source.recipes)
    clocks = clock_frame(found.runs, recipes=source.recipes)
    known = source.estimates.recipes[["recipe", "family", "batch_size", "own_clock"]]
    whole = table.merge(clocks, on=["recipe", "epoch"]).merge(known, on="recipe")
    said = [
        "The spread of mean validation accuracy over σw at each epoch, corrected for what noise "
        "adds to it, with its 95 % interval; above against epochs, below on the clock that is to "
        "govern the recipe. Zero where σw is forgotten, whatever the shape of its effect was.",
    ]
    pages = memory_by_epoch_pages(whole, title)
    return [
        _Part(said, page, whole if number == 1 else None, f"{number}" if len(pages) > 1 else "")
        for number, page in enumerate(pages, start=1)
    ]


def _norms(source: Source, _: str) -> list[_Part]:
    _refuse_one_scale(source)
    found = source.norms
    rows = []
    for about, row in zip(source.about.to_dict("records"), found.to_dict("records"), strict=True):
        one = named(about, source)
        one |= {"slope": row["slope"], "slope low": row["low"], "slope high": row["high"]}
        one |= {"kept": row["kept"], "kept low": row["kept_low"], "kept high": row["kept_high"]}
        one |= {"‖W‖ max/min, start": row["initial_spread"], "at τ_best": row["best_spread"]}
        rows.append(one | {name: row[name] for name in ("runs", "seeds", "scales", "diverged")})
    said = [
        "Slope of log ‖W‖ at τ_best on log ‖W‖ before training, over σw and seeds, with its 95 % "
        "interval (seed as the cluster): 1 where initial norms keep their ratios, 0 where all end "
        "at one. Kept: part of the range of log ‖W‖ over σw that is left, mean over seeds with its "
        "95 % t interval."
    ]
    return [_Part(said, None, pd.DataFrame(rows))]


def _refuse_one_scale(source: Source) -> None:
    if not source.several_scales():
        raise CannotError("no recipe has runs at two σw")


Maker = Callable[[Source, str], list[_Part]]
KINDS: Mapping[str, tuple[str, Maker]] = {
    "accuracy-by-sigma-w": ("How much of σw survives training", _accuracy),
    "memory": ("Memory of every recipe", _memory),
    "phase-diagram": ("Memory against the forgetting clocks", _phase_diagram),
    "collapse": ("Sensitivity to σw on epochs and clock", _collapse),
    "forgetting-times": ("When σw is forgotten", _forgetting_times),
    "forgetting-law": ("The forgetting law", _law),
    "memory-by-epoch": ("Memory in the course of training", _memory_by_epoch),
    "dose-response": ("Accuracy against σw, more than a line", _dose_response),
    "variance": ("Where the variance of accuracy goes", _variance),
    "radial-memory": ("What is left of the initial kernel norm", _norms),
}
