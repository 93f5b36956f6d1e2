"""Which experiment, and what of it, an exhibit shows."""

from __future__ import annotations

from analysis.exhibits.source_choice import one_of_each


def test_every_optimizer_is_drawn_before_a_second_recipe_of_one() -> None:
    recipes = {"sgd η=1": "sgd", "sgd η=2": "sgd", "adam η=1": "adam", "adam η=2": "adam"}
    assert one_of_each(recipes) == ["sgd η=1", "adam η=1", "sgd η=2", "adam η=2"]
