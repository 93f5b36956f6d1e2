"""Verdicts as a frame, one row for each claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from analysis.claims.numbers import NO_EXPERIMENT
from analysis.claims.reduced import Reduced
from analysis.claims.verdicts import Judged


class Verdicts(NamedTuple):
    """The verdicts on one claim: at the paper's recipe, and at reduced scale."""

    full: Judged
    reduced: Reduced


def frame(found: Sequence[Verdicts]) -> pd.DataFrame:
    """Verdicts as a frame with the columns of `analysis.claims.command.judge`."""
    return pd.DataFrame([_full(one.full) | _reduced(one.reduced) for one in found])


def is_arithmetic(claims: pd.DataFrame) -> pd.Series[bool]:
    """Which claims need no training."""
    return claims["experiment"] == NO_EXPERIMENT


def _full(one: Judged) -> dict[str, object]:
    return {
        "claim": one.claim.id,
        "place": one.claim.place,
        "statement": one.claim.statement,
        "experiment": ", ".join(one.claim.experiments),
        "unit": one.claim.unit,
        "paper": one.claim.paper_text,
        "ours": one.ours,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "verdict": one.verdict,
        "reason": one.reason,
    }


def _reduced(one: Reduced) -> dict[str, object]:
    return {
        "reduced": one.verdict,
        "reduced_ours": one.ours,
        "reduced_low": one.low,
        "reduced_high": one.high,
        "reduced_n": one.n,
        "reduced_on": one.on,
        "reduced_differs": one.differs,
        "reduced_reason": one.reason,
    }
