from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from claim_stores import paper_store, verdict_on
from pydantic import ValidationError

from analysis.claims.command import judge
from analysis.claims.equivalence import EquivalenceClaim
from analysis.claims.paper_file import paper
from analysis.claims.rule import Part, judge_parts
from analysis.claims.statistics import spread
from analysis.store.frames import Store
from suite.declarations.paper_experiments import PAPER_SEEDS, SIGMA_W_COARSE, SIGMA_W_FINE

CLAIM = "five-scales-are-enough"
BOTH = {("sgd", 16): 20.0, ("sgd", 128): 20.0}
FINE = np.array(SIGMA_W_FINE)
COARSE = np.isin(FINE, SIGMA_W_COARSE)


def peaked(height: float) -> Callable[..., np.ndarray]:
    """Accuracy that falls by 20 pp, and at σw=1.4, between two of the five, is best by so much."""
    return lambda _, s: 0.85 - 0.2 * (s - 0.1) / 2.4 + (s == 1.4) * (0.2 * 1.3 / 2.4 + height)


@pytest.fixture(scope="module")
def whole() -> Store:
    return paper_store("main", BOTH)


def found() -> EquivalenceClaim:
    (claim,) = [one for one in paper().claim if isinstance(one, EquivalenceClaim)]
    return claim


def test_a_straight_line_has_the_same_spread_over_five_scales_and_over_all(whole: Store) -> None:
    row = verdict_on(judge({"main": whole}), CLAIM)
    assert row["verdict"] == "reproduced"
    assert row["ours"] == pytest.approx(0, abs=0.2)
    assert row["paper"] == "within about 1 pp"
    assert row["reason"].endswith("agrees with -1 to 1 ± 0.5 pp")


def test_a_peak_between_the_five_scales_contradicts_them() -> None:
    made = paper_store("main", BOTH, truth={"test_accuracy": peaked(0.05)})
    row = verdict_on(judge({"main": made}), CLAIM)
    assert row["verdict"] == "contradicted"
    assert row["ours"] == pytest.approx(5, abs=0.3)
    assert row["low"] > 4


def test_five_scales_are_never_compared_with_themselves(whole: Store) -> None:
    """As they would be if an inner σw that is missing was left out, as in other claims."""
    runs = whole.runs[whole.runs["sigma_w"] != 1.4].reset_index(drop=True)
    claims = judge({"main": Store("main", runs, whole.history, whole.problems)})
    row = verdict_on(claims, CLAIM)
    assert row["verdict"] == "undetermined"
    assert "sgd b16: 1 of 25 σw without a run (1.4)" in row["reason"]
    assert "5-point" in verdict_on(claims, "sgd-b128-spread")["reason"]


@pytest.mark.parametrize(
    ("excess", "noise", "verdict", "at_most", "at_least"),
    [
        (1.5, 1.0, "reproduced", 0.05, 0.0),  # at the border: 2.5 %
        (1.5, 1.0, "contradicted", 0.05, 0.0),
        (0.0, 0.3, "reproduced", 1.0, 0.9),
        (0.0, 3.0, "reproduced", 0.05, 0.0),  # no difference seen in noise is no equivalence
        (4.0, 0.5, "contradicted", 1.0, 0.9),
    ],
)
def test_equivalence_is_claimed_wrongly_in_few_reruns_and_rightly_in_most(
    excess: float, noise: float, verdict: str, at_most: float, at_least: float
) -> None:
    rng, file = np.random.default_rng(0), paper()
    region = found().region(file.tolerance["bound"])
    assert (region.lower, region.upper) == (-1.5, 1.5)
    means = 100 * peaked(excess / 100)(None, FINE)
    hits = 0
    for _ in range(100):
        accuracy = means[:, None] + noise * rng.standard_normal((25, 5))
        difference = spread(accuracy, rng).minus(spread(accuracy[COARSE], rng))
        hits += judge_parts([Part("", difference, region)]).verdict == verdict
    assert at_least <= hits / 100 <= at_most


def test_four_seeds_are_not_enough() -> None:
    made = paper_store("main", BOTH, seeds=PAPER_SEEDS[:4])
    row = verdict_on(judge({"main": made}), CLAIM)
    assert row["verdict"] == "undetermined"
    assert "4 of 5 seeds at every σw" in row["reason"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quantity": "beta_kept", "unit": "ratio"}, "a quantity over σw that has differences"),
        ({"quantity": "test_accuracy", "unit": "%"}, "a quantity over σw that has differences"),
        ({"range": (0.5, 1.0)}, "a range on both sides of 0, got 0.5 to 1"),
        ({"not_reduced": ""}, "why it is not judged at reduced scale"),
        ({"grids": ({"name": "a"}, {"name": "b"})}, "grids of different σw"),
    ],
)
def test_a_claim_of_equivalence_without_a_meaning_is_refused(
    change: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        EquivalenceClaim.model_validate(found().model_dump() | change)
