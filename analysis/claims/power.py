"""What a verdict on a claim would cost: the chance of one at other numbers of seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.claims.frame import Verdicts
from analysis.claims.numbers import NO_EXPERIMENT
from analysis.claims.paper_file import NumberClaim, PaperFile
from analysis.claims.rule import Part
from analysis.claims.statistics import QUANTITIES, Ratio, Statistic
from analysis.estimates.seeds import chance_inside, chance_of_verdict


def chances_of_measured(found: Sequence[Verdicts], seeds: Sequence[int]) -> pd.DataFrame:
    """The chance of a verdict on each claim that has runs, if the truth is what they say.

    Of a claim of several parts, the chance is that of the part that decides now: at most.

    Returns
    -------
    DataFrame
        claim, statement, where ('full scale' or 'reduced scale'), verdict (now), n (seeds now),
        and a column for each number of seeds (int).
    """
    rows = []
    for full, reduced in found:
        if full.claim.experiments == (NO_EXPERIMENT,):
            continue
        for where, one in (("full scale", full), ("reduced scale", reduced)):
            chances = {n: _of_part(one.part, n) for n in seeds} if one.part else {}
            if not chances or any(math.isnan(chance) for chance in chances.values()):
                continue
            about = {"claim": full.claim.id, "statement": full.claim.statement, "where": where}
            rows.append(about | {"verdict": one.verdict, "n": one.n} | chances)
    return pd.DataFrame(rows)


def chances_before_any_run(file: PaperFile, deviation: float, seeds: Sequence[int]) -> pd.DataFrame:
    """The chance that a rerun reproduces each number in pp or %, if the paper is right.

    Bounds are left out: how far behind one the truth lies, the paper does not say.

    Parameters
    ----------
    deviation
        Of a seed's share, in pp.

    Returns
    -------
    DataFrame
        claim, statement, agrees (the range), and a column for each number of seeds (int).
    """
    rows = []
    for claim in file.claim:
        if not isinstance(claim, NumberClaim) or QUANTITIES[claim.quantity].unit not in ("pp", "%"):
            continue
        truth = sum(claim.bounds) / 2
        if not math.isfinite(truth):
            continue
        region = claim.region(file.tolerance[claim.tolerance])
        chances = {n: chance_inside(region.lower, region.upper, truth, deviation, n) for n in seeds}
        about = {"claim": claim.id, "statement": claim.statement, "agrees": region.text}
        rows.append(about | chances)
    return pd.DataFrame(rows)


def _of_part(part: Part, seeds: int) -> float:
    """NaN where its number has no error, or none that is known."""
    measured, region = part.measured, part.region
    if isinstance(measured, Statistic):
        deviation = max(measured.low_shares.std(ddof=1), measured.high_shares.std(ddof=1))
    elif isinstance(measured, Ratio):
        # To first order in the errors of both means.
        shares = measured.above - measured.value * measured.below
        deviation = shares.std(ddof=1) / abs(measured.below.mean())
    else:
        return math.nan
    if not math.isfinite(deviation):
        return math.nan
    return chance_of_verdict(
        region.lower, region.upper, measured.corrected, float(deviation), seeds
    )
