"""From a claim and the runs to the parts that decide it, or to the gaps that keep it open."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.claims.equivalence import EquivalenceClaim
from analysis.claims.numbers import Region
from analysis.claims.paper_file import CollapseClaim, NumberClaim, OrderClaim, PaperFile, Term
from analysis.claims.rule import Part
from analysis.claims.runs import MOST_LOST, Gap, Sample, common_seeds
from analysis.claims.sources import Source
from analysis.claims.statistics import (
    QUANTITIES,
    Measured,
    Statistic,
    beta_kept,
    beta_late,
    norm_slope,
    spread,
)
from analysis.estimates.collapse import collapse
from analysis.estimates.recipes import find_recipes
from analysis.estimates.sensitivity import curves
from suite.declarations.experiments import EXPERIMENTS

# What a run has only if it interpolates.
AFTER_FIT = ("interpolation_epoch", "best_minus_interpolation", "repair_gap")
POSITIVE = Region(0.0, math.inf, "> 0")


@dataclass(frozen=True)
class Evidence:
    """What decides a claim.

    Attributes
    ----------
    parts
        At least one.
    samples
        The runs they are from.
    terms
        Of an order, each term's name and value.
    points
        Such as '5-point', where it is on fewer σw than the paper's.
    """

    parts: Sequence[Part]
    samples: Sequence[Sample] = ()
    terms: Mapping[str, float] = field(default_factory=dict)
    points: str = ""


def number_evidence(
    claim: NumberClaim,
    source: Source,
    file: PaperFile,
    rng: np.random.Generator,
) -> Evidence | list[Gap]:
    """The claim's quantity, for each recipe and, where runs have it, each σw."""
    fewest = file.seeds.number
    found = source.samples(claim.recipes, fewest)
    if found.gaps:
        return list(found.gaps)
    samples = found.samples
    region = claim.region(file.tolerance[claim.tolerance])
    parts: list[Part] = []
    for one in samples:
        name = one.recipe.label if len(samples) > 1 else ""
        if QUANTITIES[claim.quantity].of == "recipe":
            measured = _measure(one, claim.quantity, rng)
            bias = _bias_of_the_paper(claim, measured)
            parts.append(Part(name, measured, region.less(bias)))
            continue
        for s, scale in enumerate(one.recipe.scales):
            found_at = _at_scale(one, claim.quantity, s, fewest)
            if isinstance(found_at, Gap):
                return [found_at]
            at = f"σw={scale:g}" if len(one.recipe.scales) > 1 else ""
            parts.append(Part(f"{name} {at}".strip(), found_at, region))
    return Evidence(parts, samples, points=found.points)


def _bias_of_the_paper(claim: NumberClaim, measured: Measured) -> float:
    """How much too large the paper's own spread is, as ours would be at its number of seeds.

    A spread of noisy means is too large, and our interval allows for that; the paper's number does
    not. Without this, an exact rerun of a small spread would rarely agree with it.
    """
    if claim.quantity != "spread" or not isinstance(measured, Statistic):
        return 0.0
    seeds = len(EXPERIMENTS[claim.experiment].axes["seed"])
    bias = (measured.value - measured.corrected) * math.sqrt(measured.n / seeds)
    return max(0.0, bias)


def order_evidence(
    claim: OrderClaim,
    source: Source,
    file: PaperFile,
    rng: np.random.Generator,
) -> Evidence | list[Gap]:
    """The differences between every two terms of neighbouring groups, on the seeds of all.

    At reduced scale terms without a counterpart are left out.
    """
    fewest = file.seeds.order
    order = [[term for term in group if source.has(claim.of(term))] for group in claim.order]
    order = [group for group in order if group]
    terms = [term for group in order for term in group]
    found = source.samples([claim.of(term) for term in terms], fewest)
    if found.gaps:
        return list(found.gaps)
    samples = dict(zip((term.name for term in terms), found.samples, strict=True))
    seeds = common_seeds(found.samples)
    if seeds.size < fewest:
        smallest = min(samples.values(), key=lambda one: one.seeds.size)
        return [Gap(smallest.recipe, f"{seeds.size} of {fewest} seeds in common to all recipes")]
    values: dict[str, Statistic] = {}
    for term in terms:
        value = _term(samples[term.name].only(seeds), term, claim.quantity, fewest, rng)
        if isinstance(value, Gap):
            return [value]
        values[term.name] = value
    parts = [
        Part(f"{a.name} − {b.name}", values[a.name].minus(values[b.name]), POSITIVE)
        for higher, lower in pairwise(order)
        for a in higher
        for b in lower
    ]
    known = {name: one.value for name, one in values.items()}
    return Evidence(parts, found.samples, known, found.points)


def equivalence_evidence(
    claim: EquivalenceClaim,
    source: Source,
    file: PaperFile,
    rng: np.random.Generator,
) -> Evidence | list[Gap]:
    """The difference between the two grids in each recipe, on the seeds of both.

    All σw of both are needed: on fewer they might be one grid, and agree for that.
    """
    first, second = (
        source.samples(claim.of(grid), file.seeds.number, all_scales=True) for grid in claim.grids
    )
    if first.gaps or second.gaps:
        return [*first.gaps, *second.gaps]
    region = claim.region(file.tolerance[claim.tolerance])
    parts: list[Part] = []
    for pair in zip(first.samples, second.samples, strict=True):
        seeds = common_seeds(pair)
        if seeds.size < file.seeds.number:
            return [Gap(pair[0].recipe, f"{seeds.size} of {file.seeds.number} seeds in common")]
        one, other = (_measure(sample.only(seeds), claim.quantity, rng) for sample in pair)
        assert isinstance(one, Statistic)
        assert isinstance(other, Statistic)  # the file has no difference of another quantity
        name = pair[0].recipe.label if len(claim.over) > 1 else ""
        parts.append(Part(name, one.minus(other), region))
    return Evidence(parts, first.samples)


def _term(
    one: Sample, term: Term, quantity: str, fewest: int, rng: np.random.Generator
) -> Statistic | Gap:
    if QUANTITIES[quantity].of == "run":
        found: Measured | Gap = _at_scale(one, quantity, 0, fewest)
    else:
        found = _measure(one, quantity, rng)
    if isinstance(found, Gap):
        return found
    assert isinstance(found, Statistic)  # the file has no order of another quantity
    if found.n < one.seeds.size:  # differences need all seeds
        return Gap(
            one.recipe, f"{one.recipe.label}: {_without(one, found.n, quantity)}", trainable=False
        )
    return found.times(term.factor)


def _measure(one: Sample, quantity: str, rng: np.random.Generator) -> Measured:
    factor = QUANTITIES[quantity].factor
    if quantity == "spread":
        return spread(one.values("test_accuracy"), rng).times(factor)
    if quantity == "norm_slope":
        norms = (one.column(f"kernel_norm_{when}") for when in ("initial", "best"))
        return norm_slope(*norms).times(factor)
    if quantity == "beta_late":
        return beta_late(one.scales, one.val_accuracy()).times(factor)
    return beta_kept(one.scales, one.val_accuracy())


def _at_scale(one: Sample, quantity: str, s: int, fewest: int) -> Statistic | Gap:
    """A quantity of runs at one σw; runs that never interpolate have no τ_interp."""
    by_seed = one.values(quantity)[s]
    there = by_seed[np.isfinite(by_seed)]
    if there.size < fewest or by_seed.size - there.size > MOST_LOST * by_seed.size:
        at = f"{one.recipe.label}, σw={one.recipe.scales[s]:g}"
        return Gap(one.recipe, f"{at}: {_without(one, there.size, quantity)}", trainable=False)
    return Statistic.mean_of(there).times(QUANTITIES[quantity].factor)


def _without(one: Sample, there: int, quantity: str) -> str:
    says = "never interpolate" if quantity in AFTER_FIT else f"lack {quantity}"
    return f"{one.seeds.size - there} of {one.seeds.size} runs {says}"


@dataclass(frozen=True)
class Collapse:
    """What `analysis.estimates.collapse` says of the clock, and the runs it is from."""

    row: Mapping[Hashable, Any]
    samples: Sequence[Sample]
    points: str


def collapse_evidence(
    claim: CollapseClaim, source: Source, file: PaperFile, seed: int
) -> Collapse | list[Gap]:
    """The collapse of the claim's batch sizes on its clock, of those that have a counterpart."""
    found = source.samples([one for one in claim.recipes if source.has(one)], file.seeds.order)
    if found.gaps:
        return list(found.gaps)
    samples = found.samples
    experiment = samples[0].experiment
    rows = np.sort(np.concatenate([one.rows.ravel() for one in samples]))
    runs = experiment.runs.iloc[rows].reset_index(drop=True)
    table = collapse(curves(runs, experiment.history, recipes=find_recipes(runs)), seed=seed)
    row = table[table["axis"] == claim.axis].to_dict("records")[0]
    return Collapse(row, samples, found.points)
