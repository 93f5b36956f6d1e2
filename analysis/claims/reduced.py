"""Claims at reduced scale: whether their direction holds where training is cheap.

A claim of direction, order or threshold is judged by the same rule at other recipes that stand for
the paper's (`analysis.claims.places`), as a verdict of its own kind, which is no reproduction:

holds
    What is 'reproduced' at the paper's recipes.
reversed
    What is 'contradicted' there.
open
    All else, runs that are still to be trained among it.

A claim without a meaning at another scale has no such verdict: a number is judged at the paper's
recipe alone, and `paper.toml` says of each bound and of some orders why they are, or are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from analysis.claims.arithmetic import train_images
from analysis.claims.differences import acting, differences
from analysis.claims.paper_file import ArithmeticClaim, Claim, PaperFile, TrainedClaim
from analysis.claims.places import Place, ReducedScale, reduced_scales
from analysis.claims.recipes import DeclaredRecipe
from analysis.claims.rule import Part, Verdict
from analysis.claims.runs import ExperimentRuns
from analysis.claims.sources import Source
from analysis.claims.verdicts import Judged, judge_claim
from analysis.estimates.recipe_labels import word

ReducedVerdict = Literal["holds", "reversed", "open", ""]
KINDS: Mapping[Verdict, ReducedVerdict] = {
    "reproduced": "holds",
    "contradicted": "reversed",
    "undetermined": "open",
}
FEWEST_SCALES = 2
NOT_TRAINED = "no runs at reduced scale"


@dataclass(frozen=True)
class Reduced:
    """The verdict on a claim at reduced scale.

    Attributes
    ----------
    verdict
        '' where there is none; then `reason` says why, or is empty for arithmetic.
    on
        The recipes on which it was judged, and which of the paper's they stand for.
    differs
        In what they differ from those.
    settings
        By experiment the part of this that all its recipes share.
    missing
        The experiments that are not there, where runs are.
    parts
        All numbers that the rule was applied to, of a claim that has any.
    """

    verdict: ReducedVerdict
    reason: str
    ours: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    on: str = ""
    differs: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    parts: Sequence[Part] = ()


def judge_reduced(
    claim: Claim,
    experiments: Mapping[str, ExperimentRuns],
    places: Mapping[str, Sequence[Place]],
    file: PaperFile,
    seed: int,
) -> Reduced:
    """The verdict on one claim at reduced scale.

    Of several reduced scales on which it is judged, the one decides that has most of the claim's
    recipes, and of these the one that differs from the paper in the fewest settings, whatever the
    verdicts are; the others are named beside it.
    """
    if isinstance(claim, ArithmeticClaim):
        return Reduced("", "")
    if claim.only_full_scale:
        return Reduced("", claim.only_full_scale)
    found = list(reduced_scales(claim, places))
    tried = []
    for scale in found:
        if isinstance(scale, ReducedScale) and _begun(scale, experiments):
            source = Source(experiments, scale.counterparts, FEWEST_SCALES)
            tried.append((scale, judge_claim(claim, source, file, seed)))
    if not tried:
        says = dict.fromkeys(one for one in found if isinstance(one, str))
        return Reduced("", "; ".join(says) or NOT_TRAINED)
    tried.sort(key=lambda one: _rank(claim, *one))
    return _verdict(claim, tried)


def _begun(scale: ReducedScale, experiments: Mapping[str, ExperimentRuns]) -> bool:
    """Whether to look there: at a miniature in any case, elsewhere once a run is there."""
    return all(place.miniature is not None for place in scale.places) or any(
        other.config.fingerprint in experiments[other.experiment].recipes
        for _, other in scale.pairs
        if other.experiment in experiments
    )


def _rank(
    claim: TrainedClaim, scale: ReducedScale, judged: Judged
) -> tuple[int, int, int, int, str]:
    """Judged before open; then most of the claim; then nearest to the paper, or cheapest."""
    openness = 0 if not judged.gaps else 1 + any(gap.absent for gap in judged.gaps)
    cost = sum(_images(other) for _, other in scale.pairs) if openness else 0
    absent = sum(one.key not in scale.counterparts for one in claim.recipes)
    return openness, absent, cost, len(_pairs_by_setting(scale.pairs)), scale.label


def _images(recipe: DeclaredRecipe) -> int:
    """How many training images the runs of one seed see."""
    return len(recipe.scales) * recipe.config.epochs * train_images(recipe.config)


def _verdict(claim: TrainedClaim, tried: Sequence[tuple[ReducedScale, Judged]]) -> Reduced:
    (scale, judged), *others = tried
    words = [judged.reason]
    absent = [one.label for one in claim.recipes if one.key not in scale.counterparts]
    words += [f"without {', '.join(absent)}"] if absent else []
    words += [f"{KINDS[one.verdict]} on {where.label}" for where, one in others if not one.gaps]
    by_setting = _pairs_by_setting(scale.pairs)
    return Reduced(
        KINDS[judged.verdict],
        "; ".join(words),
        judged.ours,
        judged.low,
        judged.high,
        judged.n,
        on=_recipes(scale),
        differs=_instead(by_setting),
        settings={place.label: _shared(place, scale.pairs) for place in scale.places},
        missing=[gap.recipe.experiment for gap in judged.gaps if gap.absent],
        parts=judged.parts,
    )


def _recipes(scale: ReducedScale) -> str:
    """Such as 'mini-main: sgd b8 for sgd b16, adam b8 for adam b16'."""
    parts = []
    for place in scale.places:
        here = [pair for pair in scale.pairs if pair[0].experiment == place.of]
        names = [
            other.label if other.label == paper.label else f"{other.label} for {paper.label}"
            for paper, other in here
        ]
        parts.append(f"{place.label}: {', '.join(dict.fromkeys(names))}")
    return "; ".join(parts)


def _pairs_by_setting(
    pairs: Sequence[tuple[DeclaredRecipe, DeclaredRecipe]],
) -> dict[str, list[tuple[object, object]]]:
    """Every setting in which counterparts differ, with the values of the paper's and theirs."""
    found: dict[str, list[tuple[object, object]]] = {}
    for paper, other in pairs:
        for name, values in differences(paper.config, other.config).items():
            if values not in found.setdefault(name, []):
                found[name].append(values)
    return found


def _instead(by_setting: Mapping[str, Sequence[tuple[object, object]]]) -> str:
    """Such as 'width 8 instead of width 64, b8, b64 instead of b16, b128'."""
    said = []
    for name, values in by_setting.items():
        own, theirs = (
            ", ".join(dict.fromkeys(word(name, pair[side]) for pair in values)) for side in (0, 1)
        )
        said.append(f"{theirs} instead of {own}")
    return ", ".join(said)


def _shared(place: Place, pairs: Sequence[tuple[DeclaredRecipe, DeclaredRecipe]]) -> str:
    """What differs at a place besides the values that correspond."""
    here = [pair for pair in pairs if pair[0].experiment == place.of]
    varied = {name for _, other in here for name in other.varied}
    values = [acting(other.config) for _, other in here]
    common = {
        name: found
        for name, found in _pairs_by_setting(here).items()
        if name not in varied and len({one.get(name) for one in values}) == 1
    }
    return _instead(common)
