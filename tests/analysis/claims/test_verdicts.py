from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from claim_stores import paper_store, verdict_on

from analysis.claims.command import judge
from analysis.claims.numbers import Region
from analysis.claims.paper_file import paper
from analysis.claims.rule import Part, judge_parts
from analysis.claims.statistics import spread as spread_of
from analysis.claims.verdicts import collapse_verdict
from analysis.store.frames import Store
from suite.declarations.paper_experiments import PAPER_SEEDS

COLUMNS = ["claim", "place", "statement", "experiment", "unit", "paper"]
COLUMNS += ["ours", "low", "high", "n", "verdict", "reason", "reduced"]
COLUMNS += [f"reduced_{name}" for name in ("ours", "low", "high", "n", "on", "differs", "reason")]
TUNED = ("sgd", 128)


def test_every_claim_has_a_row_whose_verdict_and_reason_are_given() -> None:
    claims = judge({})
    assert list(claims) == COLUMNS
    assert claims["claim"].is_unique
    assert set(claims["verdict"]) == {"reproduced", "undetermined"}
    assert claims["reason"].str.len().gt(0).all()


def test_without_runs_only_arithmetic_is_judged() -> None:
    claims = judge({})
    decided = claims[claims["verdict"] != "undetermined"]
    assert set(decided["experiment"]) == {"none"}
    assert claims.loc[claims["experiment"] == "none", "verdict"].eq("reproduced").all()


def test_clocks_at_constant_rate_are_the_closed_form() -> None:
    claims = judge({})
    steps = {16: 2500, 128: 313}
    expected = {
        "clock-sgd-b128": 300 * steps[128] * 1e-6 / 128,
        "clock-sgd-b128-long": 5000 * steps[128] * 1e-6 / 128,
        "clock-sgd-b16": 300 * steps[16] * 1e-4 / 16,
        "clock-l2-1e-3": 1e-3 * 300 * steps[128] * 1e-2,
        "clock-l2-5e-3": 5e-3 * 300 * steps[128] * 1e-2,
    }
    for claim, value in expected.items():
        assert verdict_on(claims, claim)["ours"] == pytest.approx(value, rel=1e-9)
    # The cosine's mean square is 0.3775 of the constant's, its mean 0.505.
    assert "0.000277 with" in verdict_on(claims, "clock-sgd-b128")["reason"]
    assert "0.474 with" in verdict_on(claims, "clock-l2-1e-3")["reason"]
    assert "with the schedule" not in verdict_on(claims, "clock-sgd-b128-long")["reason"]


@pytest.mark.parametrize(
    ("spread", "verdict"), [(26.5, "reproduced"), (23.5, "reproduced"), (15, "contradicted")]
)
def test_a_spread_near_the_papers_is_reproduced_and_one_far_away_contradicted(
    spread: float, verdict: str
) -> None:
    row = verdict_on(
        judge({"main": paper_store("main", {("sgd", 128): spread})}), "sgd-b128-spread"
    )
    assert row["verdict"] == verdict
    assert row["low"] < spread < row["high"]
    assert row["ours"] == pytest.approx(spread, abs=0.5)
    assert row["n"] == 5
    assert "26.5 ± 3.97 pp" in row["reason"]


def test_an_interval_wider_than_the_tolerance_decides_nothing() -> None:
    noisy = paper_store("main", {("sgd", 128): 26.5}, truth={"test_noise": 0.12})
    row = verdict_on(judge({"main": noisy}), "sgd-b128-spread")
    assert row["verdict"] == "undetermined"
    assert re.search(r"is wider than 26\.5 ± 3\.97 \(less [\d.]+ of bias\) pp", row["reason"])


def test_an_exact_rerun_of_a_small_spread_agrees_in_most_cases() -> None:
    """The paper's number is M with its bias over ten seeds, and our interval allows for that."""
    rng, scales, seeds = np.random.default_rng(0), 25, 10
    region = Region(0.85, 2.85, "1.85 ± 1")  # 1.6 pp, and what noise of 0.6 pp adds to it
    agrees = []
    for _ in range(100):
        found = spread_of(
            -1.6 * np.linspace(0, 1, scales)[:, None] + 0.6 * rng.standard_normal((scales, seeds)),
            rng,
        )
        fair = region.less(found.value - found.corrected)
        agrees.append([judge_parts([Part("", found, r)]).verdict for r in (region, fair)])
    before, after = (np.mean([one[i] == "reproduced" for one in agrees]) for i in (0, 1))
    assert before < 0.5 < 0.6 < after


def test_an_interval_over_the_border_decides_nothing() -> None:
    at_border = paper_store("main", {("sgd", 128): 26.5 + 3.975})
    row = verdict_on(judge({"main": at_border}), "sgd-b128-spread")
    assert row["verdict"] == "undetermined"
    assert "border" in row["reason"]


def test_one_batch_size_of_the_main_grid_is_enough_for_its_claims() -> None:
    claims = judge({"main": paper_store("main", {("sgd", 128): 26.5, ("adam", 128): 4.3})})
    for claim in ("sgd-b128-spread", "sgd-b128-accuracy-smallest", "adam-b128-spread"):
        assert verdict_on(claims, claim)["verdict"] == "reproduced"
    missing = verdict_on(claims, "sgd-b16-spread")
    assert missing["verdict"] == "undetermined"
    command = "python -m suite.grid --experiment main --set optimizer=sgd --set batch_size=16"
    assert missing["reason"] == f"no run of sgd b16: `{command}`"


@pytest.mark.parametrize("seeds", [1, 4])
def test_too_few_seeds_decide_nothing_on_a_number(seeds: int) -> None:
    few = paper_store("main", {("sgd", 128): 26.5}, seeds=PAPER_SEEDS[:seeds])
    row = verdict_on(judge({"main": few}), "sgd-b128-spread")
    assert row["verdict"] == "undetermined"
    assert f"{seeds} of 5 seeds at every σw" in row["reason"]
    assert np.isnan(row["ours"])


def test_a_seed_without_a_run_at_an_end_of_the_scales_does_not_count() -> None:
    whole = paper_store("main", {("sgd", 128): 26.5})
    hole = ~((whole.runs["sigma_w"] == 2.5) & (whole.runs["seed"] == PAPER_SEEDS[0]))
    runs = whole.runs[hole].reset_index(drop=True)
    row = verdict_on(judge({"main": _with_runs(whole, runs)}), "sgd-b128-spread")
    assert row["verdict"] == "undetermined"
    assert "4 of 5 seeds at every σw" in row["reason"]


@pytest.mark.parametrize(
    ("scale", "says"),
    [(0.7, "5-point"), (1.1, "5-point"), (1.8, "24-point"), (1.0, "24-point")],
)
@pytest.mark.parametrize("seeds", [PAPER_SEEDS[:1], PAPER_SEEDS[:5]])
def test_a_hole_inside_the_scales_leaves_a_verdict_on_fewer_and_says_so(
    scale: float, says: str, seeds: tuple[int, ...]
) -> None:
    whole = paper_store("main", {("sgd", 128): 26.5})
    hole = (whole.runs["sigma_w"] == scale) & whole.runs["seed"].isin(seeds)
    runs = whole.runs[~hole].reset_index(drop=True)
    row = verdict_on(judge({"main": _with_runs(whole, runs)}), "sgd-b128-spread")
    assert (row["verdict"], row["n"]) == ("reproduced", 5)
    assert row["reason"] == f"agrees with 26.5 ± 3.97 pp; {says}"
    assert "point" not in verdict_on(judge({"main": whole}), "sgd-b128-spread")["reason"]


def test_an_order_takes_the_same_scales_in_all_its_recipes() -> None:
    """SGD lacks one σw at which momentum's accuracy drops: it counts in neither."""
    whole = paper_store("main", {("sgd", 16): 22.8, ("momentum", 16): 10.9, ("adam", 16): 1.6})
    runs = whole.runs
    sgd = runs["optimizer"] == "sgd"
    odd = (runs["optimizer"] == "momentum") & (runs["sigma_w"] == 0.7)
    runs = runs.assign(test_accuracy=runs["test_accuracy"].mask(odd, 0.2))
    kept = _with_runs(whole, runs[~(sgd & (runs["sigma_w"] == 0.7))].reset_index(drop=True))
    row = verdict_on(judge({"main": kept}), "hierarchy-b16")
    assert row["verdict"] == "reproduced"
    assert "SGD 22.8 pp, momentum 10.8 pp" in row["reason"]
    assert "5-point" in row["reason"]


def test_scales_at_which_runs_diverged_are_not_taken_for_missing() -> None:
    whole = paper_store("main", {("sgd", 128): 26.5})
    lost = (whole.runs["sigma_w"] == 2.4) & whole.runs["seed"].isin(PAPER_SEEDS[:3])
    diverged = _with_runs(whole, whole.runs.assign(diverged=lost))
    row = verdict_on(judge({"main": diverged}), "sgd-b128-spread")
    assert row["n"] == 5
    assert "3 runs diverged, and count as what they return" in row["reason"]


def test_a_scale_without_runs_is_named() -> None:
    whole = paper_store("main", {("sgd", 128): 26.5})
    runs = whole.runs[whole.runs["sigma_w"] < 2.35].reset_index(drop=True)
    row = verdict_on(judge({"main": _with_runs(whole, runs)}), "sgd-b128-spread")
    assert row["verdict"] == "undetermined"
    assert "2 of 25 σw without a run (2.4, 2.5)" in row["reason"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"dataset": "digits", "width": 8},
            "digits instead of cifar10, width 8 instead of width 64",
        ),
        ({"epochs": 20}, "20 epochs instead of 300 epochs"),
        ({"semantics": "torch"}, "torch instead of keras"),
        ({"precision": "bf16"}, "bf16 instead of fp32"),
        ({"learning_rate": 2e-3}, "η=0.002 instead of η=0.001"),
        ({"kernel_l2": 1e-4}, "λ=0.0001 instead of λ=0"),
    ],
)
def test_another_recipe_never_yields_a_verdict(changes: dict[str, object], says: str) -> None:
    other = paper_store("main", {("sgd", 128): 26.5, ("adam", 128): 4.3}, changes=changes)
    claims = judge({"main": other})
    of_main = claims[claims["experiment"] == "main"]
    assert of_main["verdict"].eq("undetermined").all()
    assert of_main["ours"].isna().all()
    reason = verdict_on(claims, "sgd-b128-spread")["reason"]
    assert reason.startswith(f"not the paper's recipe: {says}: `python -m suite.grid")


def test_another_bias_scale_is_another_recipe() -> None:
    whole = paper_store("main", {("sgd", 128): 26.5})
    row = verdict_on(
        judge({"main": _with_runs(whole, whole.runs.assign(sigma_b=0.5))}), "sgd-b128-spread"
    )
    assert row["verdict"] == "undetermined"


def test_runs_of_the_demo_are_never_taken_for_the_papers() -> None:
    demo = paper_store("main", {("sgd", 128): 26.5})
    claims = judge({"demo": demo})
    assert claims.loc[claims["experiment"] != "none", "verdict"].eq("undetermined").all()


def test_more_scales_than_the_papers_do_not_enter() -> None:
    whole = paper_store("main", {("sgd", 128): 26.5})
    extreme = whole.runs[whole.runs["sigma_w"] == 2.5].assign(sigma_w=3.0, test_accuracy=0.1)
    runs = pd.concat([whole.runs, extreme], ignore_index=True)
    runs["run_id"] = [f"{i:032x}" for i in range(len(runs))]
    row = verdict_on(judge({"main": _with_runs(whole, runs)}), "sgd-b128-spread")
    assert row["verdict"] == "reproduced"


HIERARCHY = [("sgd", 16), ("momentum", 16), ("adam", 16)]


def test_the_papers_hierarchy_is_reproduced_from_three_seeds() -> None:
    spreads = dict(zip(HIERARCHY, (22.8, 10.9, 1.6), strict=True))
    row = verdict_on(
        judge({"main": paper_store("main", spreads, seeds=PAPER_SEEDS[:3])}), "hierarchy-b16"
    )
    assert row["verdict"] == "reproduced"
    assert row["paper"] == "SGD > momentum > Adam"
    assert row["ours"] == pytest.approx(10.9 - 1.6, abs=0.6)  # the closest pair
    assert "closest: momentum − Adam" in row["reason"]
    assert row["n"] == 3


@pytest.mark.parametrize(
    ("spreads", "verdict"),
    [
        ((1.6, 10.9, 22.8), "contradicted"),
        ((22.8, 1.6, 10.9), "contradicted"),
        ((22.8, 10.9, 10.9), "undetermined"),
        ((10.9, 10.9, 10.9), "undetermined"),
    ],
)
def test_another_hierarchy_is_contradicted_and_equal_spreads_decide_nothing(
    spreads: tuple[float, ...], verdict: str
) -> None:
    made = paper_store("main", dict(zip(HIERARCHY, spreads, strict=True)), seeds=PAPER_SEEDS[:3])
    row = verdict_on(judge({"main": made}), "hierarchy-b16")
    assert row["verdict"] == verdict
    assert row["low"] < row["ours"] < row["high"]


def test_long_training_is_held_against_the_main_grid_on_the_seeds_of_both() -> None:
    main = paper_store("main", {("sgd", 128): 26.5}, seeds=PAPER_SEEDS)
    alone = {"seeds": (42,), "changes": {"epochs": 5000}}
    # The history of 5,000 epochs has no part in it.
    one_seed = _without_history(paper_store("long", {(128,): 26}, **alone))
    row = verdict_on(judge({"main": main, "long": one_seed}), "long-does-not-erase")
    assert "1 of 3 seeds" in row["reason"]
    assert "--experiment long --set batch_size=128 --set seed=42,0,1,123,456" in row["reason"]
    for spread, verdict in ((26, "reproduced"), (10, "contradicted")):
        long = _without_history(
            paper_store("long", {(128,): spread}, **alone | {"seeds": (0, 1, 42)})
        )
        row = verdict_on(judge({"main": main, "long": long}), "long-does-not-erase")
        assert row["verdict"] == verdict
        assert row["n"] == 3


def test_recipes_without_seeds_in_common_are_not_compared() -> None:
    main = paper_store("main", {("sgd", 128): 26.5}, seeds=PAPER_SEEDS[:4])
    long = _without_history(paper_store("long", {(128,): 26}, seeds=(2024, 2025, 2026)))
    row = verdict_on(judge({"main": main, "long": long}), "long-does-not-erase")
    assert row["verdict"] == "undetermined"
    assert row["reason"].startswith("0 of 3 seeds in common")


def test_runs_that_fail_at_one_scale_are_memory_and_are_said() -> None:
    """Without them the spread of 0 pp would be reproduced."""
    whole = paper_store("best", {TUNED: 0.0}, seeds=PAPER_SEEDS, best=0.942)
    kept = verdict_on(judge({"best": whole}), "best-sgd-spread")
    assert kept["verdict"] == "reproduced"
    worst = (whole.runs["sigma_w"] == 2.5) & whole.runs["seed"].isin(PAPER_SEEDS[:2])
    diverged = whole.runs.assign(
        diverged=worst, test_accuracy=whole.runs["test_accuracy"].mask(worst)
    )
    row = verdict_on(judge({"best": _with_runs(whole, diverged)}), "best-sgd-spread")
    assert row["verdict"] != "reproduced"
    assert row["n"] == 10
    assert row["ours"] == pytest.approx(0.2 * (94.2 - 10), abs=1)
    assert "2 runs diverged, and count as what they return" in row["reason"]


def test_the_bias_of_a_small_spread_is_said() -> None:
    flat = paper_store("best", {TUNED: 0.0}, best=0.942, truth={"test_noise": 0.004})
    row = verdict_on(judge({"best": flat}), "best-sgd-spread")
    assert "bias-corrected" in row["reason"]
    large = verdict_on(
        judge({"main": paper_store("main", {("sgd", 128): 26.5})}), "sgd-b128-spread"
    )
    assert "bias-corrected" not in large["reason"]


def test_runs_that_never_interpolate_leave_their_epoch_unjudged() -> None:
    slow = paper_store("main", {("adam", 16): 1.6}, truth={"interpolation_rate": 0.001})
    row = verdict_on(judge({"main": slow}), "adam-b16-interpolation-epoch")
    assert row["verdict"] == "undetermined"
    assert "5 of 5 runs never interpolate" in row["reason"]


def _with_runs(one: Store, runs: pd.DataFrame) -> Store:
    return replace(one, runs=runs)


def _without_history(one: Store) -> Store:
    return replace(one, history=one.history.iloc[:0])


@pytest.mark.parametrize(("distance", "verdict"), [(0.04, "undetermined"), (0.3, "contradicted")])
def test_only_curves_that_lie_visibly_apart_contradict_a_collapse(
    distance: float, verdict: str
) -> None:
    row = {"verdict": "no better", "reason": "", "log_ratio": 4.0, "low": 3.0}
    found, reason = collapse_verdict(
        row | {"distance": distance}, paper().tolerance["collapse"].absolute
    )
    assert found == verdict
    assert f"{distance:g} decades apart" in reason
