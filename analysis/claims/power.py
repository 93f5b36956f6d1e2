"""What a verdict on a claim would cost: the chance of one at other numbers of seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.claims.frame import Verdicts
from analysis.claims.numbers import NO_EXPERIMENT
from analysis.claims.paper_file import NumberClaim, PaperFile
from analysis.claims.rule import LEVEL, Part
from analysis.claims.statistics import QUANTITIES, Ratio, Statistic
from analysis.estimates.seeds import chance_inside, chance_of_verdict

Floats = NDArray[np.float64]
SWEEPS = 2000  # simulated, for a chance with a standard error of 1 point
ENOUGH_FOR_A_DEVIATION = 200  # seeds, from which on it is known to 5 %


def chances_of_measured(found: Sequence[Verdicts], seeds: Sequence[int]) -> pd.DataFrame:
    """The chance of a verdict on each claim that has runs, if the truth is what they say.

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
            rng = np.random.default_rng([*full.claim.id.encode()])
            chances = {n: chance_of_claim(one.parts, n, rng) for n in seeds}
            if any(math.isnan(chance) for chance in chances.values()):
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


def chance_of_claim(parts: Sequence[Part], seeds: int, rng: np.random.Generator) -> float:
    """The chance that the rule reproduces or contradicts a claim of these parts, at so many seeds.

    Of one part it is a formula. Of several the rule is applied to simulated sweeps, in which the
    errors of the parts go together as the seeds' shares do in the runs (a normal distribution of
    their covariance): parts that share a recipe or a seed are rarely decided one without the other.

    Returns
    -------
    float
        NaN where a number has no error, or none that is known.
    """
    scatters = [_scatter(part) for part in parts]
    if not scatters or not all(np.isfinite(one).all() for one in scatters):
        return math.nan
    if len(parts) == 1:
        deviation = float(scatters[0].std(ddof=1))
        lower, upper = _reachable(parts[0])
        return chance_of_verdict(lower, upper, parts[0].measured.corrected, deviation, seeds)
    drawn = min(seeds, ENOUGH_FOR_A_DEVIATION)
    noise = _noise(scatters, drawn, rng)
    mean = noise.mean(1) * math.sqrt(drawn / seeds)
    error = noise.std(1, ddof=1) / math.sqrt(seeds)
    centers = np.array([part.measured.corrected for part in parts]) + mean
    lower, upper = np.array([_reachable(part) for part in parts]).T
    half, wide = (
        error * stats.t.ppf(0.5 + level / 2, seeds - 1)
        for level in (LEVEL, 1 - (1 - LEVEL) / len(parts))
    )
    inside = ((lower < centers - half) & (centers + half < upper)).all(1)
    outside = ((centers + wide < lower) | (upper < centers - wide)).any(1)
    return float((inside | outside).mean())


def _scatter(part: Part) -> Floats:
    """Each seed's share of the number, shape (seeds,); NaN where there is none."""
    measured = part.measured
    if isinstance(measured, Statistic):
        return max(measured.low_shares, measured.high_shares, key=lambda one: one.std(ddof=1))
    if isinstance(measured, Ratio):
        # To first order in the errors of both means.
        shares = measured.above - measured.value * measured.below
        return np.asarray(shares / abs(measured.below.mean()), dtype=np.float64)
    return np.array([math.nan])


def _reachable(part: Part) -> tuple[float, float]:
    """The range that agrees; open below where no interval reaches down to its border."""
    floor = part.measured.floor if isinstance(part.measured, Statistic) else -math.inf
    lower, upper = part.region.lower, part.region.upper
    return (-math.inf if lower < floor else lower), upper


def _noise(scatters: Sequence[Floats], seeds: int, rng: np.random.Generator) -> Floats:
    """Shares of seeds less their truth, shape (sweeps, seeds, parts)."""
    if len({one.size for one in scatters}) == 1:
        shares = np.stack(scatters, axis=1)
        shares = (shares - shares.mean(0)) / math.sqrt(len(shares) - 1)
        together = rng.standard_normal((SWEEPS, seeds, len(shares))) @ shares
        return np.asarray(together, dtype=np.float64)
    # Not the same seeds: nothing says which of one part belongs to which of another.
    deviations = np.array([one.std(ddof=1) for one in scatters])
    return deviations * rng.standard_normal((SWEEPS, seeds, len(scatters)))
