"""Every claim with its verdict, our number and, in one line, the reason."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.claims.arithmetic import clock_order_parts, clock_parts, minimal_parts
from analysis.claims.clock_order import ClockOrderClaim
from analysis.claims.equivalence import EquivalenceClaim
from analysis.claims.evidence import (
    Collapse,
    Evidence,
    collapse_evidence,
    equivalence_evidence,
    number_evidence,
    order_evidence,
)
from analysis.claims.paper_file import (
    Claim,
    ClockClaim,
    CollapseClaim,
    MinimalClaim,
    OrderClaim,
    PaperFile,
)
from analysis.claims.recipes import command
from analysis.claims.rule import Judgement, Part, Verdict, judge_parts
from analysis.claims.runs import Gap, Sample
from analysis.claims.sources import Source
from analysis.units import SPOKEN, in_unit, number

BIAS_WORTH_A_WORD = 0.1  # of the estimate
LACKING = "some runs lack the metric in their history"
QUALITY = ("quality", "quality_low", "quality_high")


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Attributes
    ----------
    gaps
        What is missing for a verdict, where something is.
    parts
        All numbers that the rule was applied to, of a claim that has any.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    ours: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    gaps: Sequence[Gap] = ()
    parts: Sequence[Part] = ()


def judge_claim(claim: Claim, source: Source, file: PaperFile, seed: int) -> Judged:
    """The verdict on one claim; the same seed gives the same verdict whatever else is judged."""
    rng = np.random.default_rng([seed, *claim.id.encode()])
    if isinstance(claim, ClockClaim):
        parts, note = clock_parts(claim, claim.region(file.tolerance[claim.tolerance]))
        return _from_parts(claim, Evidence(parts), [note])
    if isinstance(claim, ClockOrderClaim):
        return _from_parts(claim, Evidence(clock_order_parts(claim)))
    if isinstance(claim, MinimalClaim):
        region = claim.region(file.tolerance[claim.tolerance])
        return _from_parts(claim, Evidence(minimal_parts(claim, region, seed)))
    if isinstance(claim, CollapseClaim):
        collapsed = collapse_evidence(claim, source, file, seed)
        return (
            _from_collapse(claim, collapsed, file.tolerance[claim.tolerance].absolute)
            if isinstance(collapsed, Collapse)
            else _open(claim, collapsed, file)
        )
    if isinstance(claim, OrderClaim):
        found = order_evidence(claim, source, file, rng)
    elif isinstance(claim, EquivalenceClaim):
        found = equivalence_evidence(claim, source, file, rng)
    else:
        found = number_evidence(claim, source, file, rng)
    return _from_parts(claim, found) if isinstance(found, Evidence) else _open(claim, found, file)


def _from_parts(claim: Claim, evidence: Evidence, notes: Sequence[str] = ()) -> Judged:
    found = judge_parts(evidence.parts)
    measured = found.part.measured
    if isinstance(claim, OrderClaim):
        words = [_order_reason(found, evidence, claim.unit)]
    else:
        words = [_number_reason(found, claim.unit)]
        bias = measured.value - measured.corrected
        # The ends of a difference of two spreads have biases of their own, and it has none.
        known = not isinstance(claim, EquivalenceClaim)
        if known and abs(bias) > BIAS_WORTH_A_WORD * abs(measured.value):
            words.append(f"bias-corrected {in_unit(measured.corrected, claim.unit)}")
    words += [evidence.points, _diverged(evidence.samples), *notes, claim.note]
    return Judged(
        claim,
        found.verdict,
        "; ".join(word for word in words if word),
        measured.value,
        found.low,
        found.high,
        measured.n,
        parts=evidence.parts,
    )


def _number_reason(found: Judgement, unit: str) -> str:
    region, label = found.part.region, found.part.label
    where = f"{label}: " if label else ""
    agrees = f"{region.text} {unit}" if unit in SPOKEN else region.text
    if found.verdict == "reproduced":
        return f"{where}agrees with {agrees}"
    if found.verdict == "contradicted":
        return f"{where}disagrees with {agrees}"
    if math.isnan(found.low):
        return f"{where}{LACKING}"
    if math.isinf(found.low):
        return f"{where}its peak does not rise above the noise"
    half, tolerance = (found.high - found.low) / 2, (region.upper - region.lower) / 2
    if half > tolerance:
        return f"{where}interval ±{number(half, unit)} is wider than {agrees}"
    return f"{where}interval reaches over the border of {agrees}"


def _order_reason(found: Judgement, evidence: Evidence, unit: str) -> str:
    values = ", ".join(f"{name} {in_unit(value, unit)}" for name, value in evidence.terms.items())
    difference = found.part.label
    if found.verdict == "reproduced":
        closest = f"; closest: {difference}" if len(evidence.parts) > 1 else ""
        return f"{values}{closest}"
    if math.isnan(found.low):
        return f"{difference}: {LACKING}"
    says = "is below 0" if found.verdict == "contradicted" else "may be 0"
    return f"{difference} {says}: {values}"


def _diverged(samples: Sequence[Sample]) -> str:
    runs = sum(one.diverged for one in samples)
    return f"{runs} run{'s' * (runs > 1)} diverged, and count as what they return" if runs else ""


def _from_collapse(claim: CollapseClaim, found: Collapse, apart: float) -> Judged:
    verdict, reason = collapse_verdict(found.row, apart)
    words = [reason, found.points, _diverged(found.samples)]
    # Where nothing could be measured on any axis, there are no such columns.
    quality, low, high = (float(found.row.get(name, math.nan)) for name in QUALITY)
    reason = "; ".join(word for word in words if word)
    return Judged(claim, verdict, reason, quality, low, high, int(found.row["seeds"]))


def collapse_verdict(row: Mapping[Hashable, Any], apart: float) -> tuple[Verdict, str]:
    """Reproduced if it collapses; contradicted if it lies visibly apart, and more than on epochs.

    S alone would contradict: with small errors it tells curves apart that lie on one another to
    the eye.

    Parameters
    ----------
    row
        Of `analysis.estimates.collapse`.
    apart
        From how many decades on curves lie visibly apart.
    """
    said = str(row["verdict"])
    if said == "undetermined":
        return "undetermined", str(row["reason"])
    ratio = f"S over S on epochs {math.exp(row['log_ratio']):.2g}"
    ratio += f", curves {row['distance']:.2g} decades apart"
    if said == "collapses":
        return "reproduced", f"better than on epochs: {ratio}"
    if row["low"] > 0 and row["distance"] > apart:
        return "contradicted", f"worse than on epochs: {ratio}"
    if row["low"] > 0:
        return "undetermined", f"worse than on epochs, by less than {apart:g} decades: {ratio}"
    if said == "better":
        return "undetermined", f"better than on epochs, and yet not one curve: {ratio}"
    return "undetermined", f"no better than on epochs, nor worse: {ratio}"


def _open(claim: Claim, gaps: Sequence[Gap], file: PaperFile) -> Judged:
    """Undetermined: the first gap, how many more there are, and what would fill them."""
    absent = [gap for gap in gaps if gap.absent]
    if absent:
        names = dict.fromkeys(gap.recipe.experiment for gap in absent)
        reason = f"needs experiment {', '.join(names)}"
    else:
        more = f" (and {len(gaps) - 1} more)" if len(gaps) > 1 else ""
        reason = gaps[0].reason + more
    commands = fill(absent or gaps, file.seeds.number)
    return Judged(
        claim,
        "undetermined",
        reason + (f": {' and '.join(f'`{one}`' for one in commands)}" if commands else ""),
        gaps=gaps,
    )


def fill(gaps: Sequence[Gap], seeds: int) -> list[str]:
    """The sweeps that would fill gaps, one for each experiment; none where runs cannot help."""
    if not all(gap.trainable for gap in gaps):
        return []
    commands = []
    for name in dict.fromkeys(gap.recipe.experiment for gap in gaps):
        here = [gap for gap in gaps if gap.recipe.experiment == name]
        whole = any(gap.absent for gap in here)
        commands.append(command([gap.recipe for gap in here], seeds, whole=whole))
    return commands
