"""Our own exhibits: of which experiments they are made, and what they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exhibit_parts import by_name, figure, rows
from exhibit_stores import SPAN, demo, paper

from analysis.exhibits.beyond import own_exhibits
from analysis.exhibits.catalogue import Exhibit
from analysis.exhibits.source import Source


@pytest.fixture(scope="module")
def own() -> dict[str, Exhibit]:
    """Our own, of three of the paper's experiments."""
    sources = {name: Source(paper()[name]) for name in ("main", "long", "lr-l2")}
    return by_name(list(own_exhibits(sources)))


@pytest.fixture(scope="module")
def of_demo() -> dict[str, Exhibit]:
    return by_name(list(own_exhibits({"demo": Source(demo())})))


def test_an_experiments_name_is_never_taken_for_mathematics() -> None:
    odd = {"a$_b$": Source(replace(demo(), experiment="a$_b$"))}
    shown = next(one for one in own_exhibits(odd) if one.figure is not None)
    figure(shown).canvas.draw()
    assert figure(shown).get_suptitle().startswith("a\\$_b\\$: How much")


def test_our_own_are_made_for_each_experiment_that_allows_them(
    own: dict[str, Exhibit],
) -> None:
    for experiment in ("main", "lr-l2"):
        for kind in ("accuracy-by-sigma-w", "memory", "phase-diagram", "forgetting-times"):
            assert not own[f"{kind} {experiment}"].missing
    assert all(one.place == "" for one in own.values())
    assert "collapse-1 main" in own
    assert own["collapse-2 main"].table is None
    assert not own["forgetting-law main"].missing
    assert "forgetting-law long" not in own


def test_a_law_of_too_few_recipes_says_why_there_is_none(of_demo: dict[str, Exhibit]) -> None:
    assert of_demo["forgetting-law "].missing.startswith("demo: recipes: more than 3")


def test_the_law_predicts_every_recipe_from_the_others(own: dict[str, Exhibit]) -> None:
    table = rows(own["forgetting-law-predictions main"])
    assert len(table) == 15
    np.testing.assert_allclose(table.set_index("recipe").loc["sgd b16", "observed (pp)"], 10 * SPAN)
    terms = rows(own["forgetting-law main"])
    assert {"adaptive", "log_T_SGD", "log_T_adapt"} <= set(terms["term"])
    assert (terms["factor low"] <= terms["factor"]).all()


def test_memory_has_its_interval_and_verdict(of_demo: dict[str, Exhibit]) -> None:
    table = rows(of_demo["memory demo"])
    assert list(table["optimizer"]) == ["SGD", "SGD + momentum", "Adam"]
    np.testing.assert_allclose(table["spread (pp)"], [10 * SPAN, 10 * SPAN, SPAN])
    assert list(table["verdict"]) == ["remembers", "remembers", "forgets"]
