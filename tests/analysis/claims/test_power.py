from __future__ import annotations

import math

import numpy as np
import pytest
from claim_stores import paper_store

from analysis.claims.command import judged
from analysis.claims.paper_file import paper
from analysis.claims.power import chances_before_any_run, chances_of_measured

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
