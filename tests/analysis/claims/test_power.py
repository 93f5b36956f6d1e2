from __future__ import annotations

import math

import numpy as np
import pytest
from claim_stores import paper_store

from analysis.claims.command import judged
from analysis.claims.numbers import Region
from analysis.claims.paper_file import paper
from analysis.claims.power import chance_of_claim, chances_before_any_run, chances_of_measured
from analysis.claims.rule import Part, judge_parts
from analysis.claims.statistics import Statistic

SEEDS = (3, 5, 10, 20)


def test_chances_are_those_of_the_claims_that_have_runs() -> None:
    store = paper_store("main", {("sgd", 128): 26.5, ("adam", 128): 4.3})
    table = chances_of_measured(judged({"main": store}), SEEDS).set_index("claim")
    assert (table["where"] == "full scale").all()
    row = table.loc["sgd-b128-spread"]
    assert (row["verdict"], row["n"]) == ("reproduced", 5)
    assert row[5] > 0.95
    assert not [name for name in table.index if name.startswith("minimal")]
    assert "sgd-b16-spread" not in table.index


def test_a_number_at_the_border_of_its_range_is_hardly_ever_decided() -> None:
    at_border = paper_store("main", {("sgd", 128): 26.5 + 3.975})
    table = chances_of_measured(judged({"main": at_border}), SEEDS).set_index("claim")
    assert table.loc["sgd-b128-spread", list(SEEDS)].max() < 0.3


def test_before_any_run_a_tolerance_of_one_deviation_needs_ten_seeds() -> None:
    table = chances_before_any_run(paper(), 1.0, SEEDS).set_index("claim")
    row = table.loc["adam-b128-spread"]
    assert row["agrees"] == "4.3 ± 1"
    assert row[5] < 0.3 < 0.5 < row[10] < 0.8 < row[20]
    assert np.isfinite(table[list(SEEDS)].to_numpy(float)).all()
    assert not table["agrees"].str.contains("≥|≤").any()


def test_there_is_no_chance_without_a_scatter() -> None:
    store = paper_store("main", {("sgd", 128): 26.5}, seeds=(0, 1, 42))
    found = judged({"main": store})
    alone = [one for one in found if one.full.claim.id == "sgd-b128-spread"]
    assert math.isnan(alone[0].full.ours)  # three seeds are too few for a number
    assert chances_of_measured(alone, SEEDS).empty


@pytest.mark.parametrize("deviation", [0.1, 10.0])
def test_less_scatter_is_more_chance(deviation: float) -> None:
    one, other = (chances_before_any_run(paper(), d, SEEDS)[10] for d in (1.0, deviation))
    assert ((other >= one) if deviation < 1 else (other <= one)).all()


def drawn_parts(
    rng: np.random.Generator, seeds: int, truths: np.ndarray, root: np.ndarray, region: Region
) -> list[Part]:
    """One part for each truth, whose seeds' shares have the covariance root · rootᵀ."""
    shares = truths + rng.standard_normal((seeds, len(truths))) @ root.T
    return [Part(str(i), Statistic.mean_of(column), region) for i, column in enumerate(shares.T)]


def exact_parts(truths: np.ndarray, root: np.ndarray, region: Region) -> list[Part]:
    """Parts whose own mean and covariance are exactly these."""
    noise = np.random.default_rng(5).standard_normal((40, len(truths)))
    noise -= noise.mean(0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T
    shares = truths + white @ root.T
    return [Part(str(i), Statistic.mean_of(column), region) for i, column in enumerate(shares.T)]


ALONE = np.eye(4)
TOGETHER = np.full((4, 4), 0.45) + 0.2 * np.eye(4)


@pytest.mark.parametrize("root", [ALONE, TOGETHER], ids=["independent", "together"])
@pytest.mark.parametrize(
    ("truths", "region"),
    [
        (np.array([1.5, 2.0, 1.5, 2.0]), Region(0, math.inf, "> 0")),  # an order that is right
        (np.array([-1.5, 2.0, 1.5, 2.0]), Region(0, math.inf, "> 0")),  # one link is wrong
        (np.array([0.2, 0.0, -0.2, 0.3]), Region(-1.5, 1.5, "0 ± 1.5")),
    ],
    ids=["right", "one-wrong", "equivalence"],
)
def test_the_chance_of_a_claim_of_four_parts_is_that_of_the_rule(
    truths: np.ndarray, region: Region, root: np.ndarray
) -> None:
    rng, seeds = np.random.default_rng(1), 6
    found = chance_of_claim(exact_parts(truths, root, region), seeds, rng)
    decided = [
        judge_parts(drawn_parts(rng, seeds, truths, root, region)).verdict != "undetermined"
        for _ in range(400)
    ]
    assert found == pytest.approx(np.mean(decided), abs=0.075)  # 3 binomial errors


def test_an_order_of_many_links_is_less_likely_than_its_weakest_alone() -> None:
    region, rng = Region(0, math.inf, "> 0"), np.random.default_rng(0)
    parts = exact_parts(np.full(4, 1.5), ALONE, region)
    one, all_of_them = (chance_of_claim(parts[:n], 6, rng) for n in (1, 4))
    assert 0.6 < one < 0.95
    assert all_of_them < one - 0.2


def test_parts_of_other_seeds_are_drawn_apart() -> None:
    region, rng = Region(0, math.inf, "> 0"), np.random.default_rng(0)
    shares = np.array([0.5, 1.5, 2.5, 1.0, 2.0])
    twice = [Part(str(n), Statistic.mean_of(shares[:n]), region) for n in (5, 5)]
    apart = [Part(str(n), Statistic.mean_of(shares[:n]), region) for n in (5, 4)]
    assert chance_of_claim(twice, 5, rng) > chance_of_claim(apart, 5, rng)


def test_a_spread_that_cannot_fall_below_its_range_is_not_kept_open_by_that_end() -> None:
    """Of a range from below 0 a memory has the upper border alone."""
    shares, region = np.array([0.1, 0.9, 0.5, 0.2, 0.8]), Region(-1.0, 1.0, "0 ± 1")
    with_floor, without = (
        Statistic(0.0, 0.0, 0.0, shares, shares, floor=floor) for floor in (0.0, -math.inf)
    )
    rng = np.random.default_rng(0)
    chances = [chance_of_claim([Part("", one, region)], 3, rng) for one in (with_floor, without)]
    assert chances[0] > chances[1] + 0.05


def test_many_seeds_cost_no_more_than_a_few_hundred() -> None:
    parts = exact_parts(np.full(4, 0.02), ALONE, Region(0, math.inf, "> 0"))
    rng = np.random.default_rng(0)
    assert chance_of_claim(parts, 10**6, rng) == 1.0
    assert chance_of_claim(parts, 1000, rng) < 0.1


def test_the_plan_of_an_order_uses_all_of_its_links() -> None:
    recipes = {("sgd", 16): 20.0, ("momentum", 16): 10.0, ("adam", 16): 9.6}
    store = paper_store("main", recipes, truth={"test_noise": 0.004})
    found = [one for one in judged({"main": store}) if one.full.claim.id == "hierarchy-b16"]
    assert [part.label for part in found[0].full.parts] == ["SGD − momentum", "momentum − Adam"]
    chance = chances_of_measured(found, SEEDS).iloc[0]
    assert chance[3] < 0.5
