"""When a claim is reproduced, contradicted or undetermined.

A claim is one or more parts, each a number with an interval and a range that agrees with the paper:
the paper's value ± a tolerance that `paper.toml` declares with its reason, a bound, or, for an
order, a difference above 0.

reproduced
    The 95 % interval of every part lies inside its range. For a value ± tolerance that is a test of
    equivalence (two one-sided tests at 2.5 %); for several parts no correction is due, as all of
    them have to pass (intersection–union: Berger 1982).
contradicted
    The interval of some part lies wholly outside its range, at a level of 1 − 5 %/parts, as one
    part out of many is enough.
undetermined
    All else: no runs, too few seeds, another recipe, or an interval that reaches over the border.

So that a verdict is wrong in about 2.5 % of reruns where the truth is at the border of the range,
and in fewer elsewhere. Measured for spreads on 500 to 1,500 simulated recipes of 5 and of 25 σw,
with 0 to 8 standard errors of memory: 0 to 3.5 % at 5 and at 10 seeds, up to 5 % at 3, where only
orders are judged; orders of two equal spreads are called reproduced in 0 to 3 %. The same 95 %
interval is shown and decides, so that a reader can check by eye.

Why t intervals over paired seeds and no bootstrap of them: with 3 to 10 seeds the percentile
bootstrap is too narrow (at 3 seeds, an order of two equal recipes would hold in all resamples once
in 8 sweeps, at 5 once in 32); t is exact for normal errors. The spread, a maximum minus a minimum,
is biased upward; its interval (`analysis.estimates.spread`) allows for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.claims.numbers import Region
from analysis.claims.statistics import Measured

Verdict = Literal["reproduced", "contradicted", "undetermined"]
RANK: tuple[Verdict, ...] = ("contradicted", "undetermined", "reproduced")
LEVEL = 0.95
WRONG_AT_A_BORDER = (1 - LEVEL) / 2  # the share of verdicts, where the truth is at a border


@dataclass(frozen=True)
class Part:
    """A number, its name within the claim (empty if it is alone), and its range."""

    label: str
    measured: Measured
    region: Region


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim.

    Attributes
    ----------
    part
        The one that decided: of the worst verdict the one that is nearest to, or farthest over,
        the border.
    low, high
        Its interval.
    """

    verdict: Verdict
    part: Part
    low: float
    high: float


def judge_parts(parts: Sequence[Part]) -> Judgement:
    """The verdict on a claim of at least one part."""
    found = [_judge(part, len(parts)) for part in parts]
    return min(found, key=lambda one: (RANK.index(one.verdict), _room(one)))


def _judge(part: Part, parts: int) -> Judgement:
    low, high = part.measured.interval(LEVEL)
    region = part.region
    if region.lower < low and high < region.upper:
        return Judgement("reproduced", part, low, high)
    wide_low, wide_high = part.measured.interval(1 - (1 - LEVEL) / parts)
    outside = wide_high < region.lower or region.upper < wide_low
    return Judgement("contradicted" if outside else "undetermined", part, low, high)


def _room(one: Judgement) -> float:
    """How far the interval is inside its range; negative where it reaches over the border."""
    room = min(one.low - one.part.region.lower, one.part.region.upper - one.high)
    return -math.inf if math.isnan(room) else room
