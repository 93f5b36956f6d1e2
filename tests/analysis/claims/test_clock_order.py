from __future__ import annotations

import pytest
from claim_stores import verdict_on
from pydantic import ValidationError

from analysis.claims.arithmetic import clock_order_parts
from analysis.claims.clock_order import ClockOrderClaim
from analysis.claims.command import judge
from analysis.claims.paper_file import paper
from analysis.claims.rule import judge_parts

STEPS = {16: 300 * 2500, 128: 300 * 313}


def found() -> ClockOrderClaim:
    (claim,) = [one for one in paper().claim if isinstance(one, ClockOrderClaim)]
    return claim


def test_the_papers_clocks_are_in_its_order_by_the_closed_forms() -> None:
    t_adapt = {b: 2 * steps * 1e-3 for b, steps in STEPS.items()}
    t_l2 = {(b, d): d * steps * 1e-2 for b, steps in STEPS.items() for d in (0.005, 0.01)}
    t_sgd = {b: 10 * steps * 1e-6 / b for b, steps in STEPS.items()}
    ratios = {part.label: part.measured.value for part in clock_order_parts(found())}
    expected = {
        f"2 T_adapt b={a} / T_L2 b={b} λ={d:g}".replace("0.", "."): t_adapt[a] / value
        for a in STEPS
        for (b, d), value in t_l2.items()
    } | {
        f"T_L2 b={b} λ={d:g} / 10 T_SGD b={a}".replace("0.", "."): value / t_sgd[a]
        for a in STEPS
        for (b, d), value in t_l2.items()
    }
    assert ratios == pytest.approx(expected)
    row = verdict_on(judge({}), "clock-order")
    assert row["verdict"] == "reproduced"
    assert row["ours"] == pytest.approx(min(expected.values()))
    assert min(t_l2.values()) > 1  # L2 that is "large enough to matter"


def test_clocks_in_another_order_contradict() -> None:
    claim = found()
    turned = claim.model_copy(update={"order": claim.order[::-1]})
    judged = judge_parts(clock_order_parts(turned))
    assert judged.verdict == "contradicted"
    assert judged.part.label == "10 T_SGD b=128 / T_L2 b=16 λ=.01"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unit": "1"}, "compared by their ratio, got unit 1"),
        ({"order": found().model_dump()["order"][:1] * 2}, "each name of a term once"),
    ],
)
def test_an_order_of_clocks_without_a_meaning_is_refused(
    change: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        ClockOrderClaim.model_validate(found().model_dump() | change)
