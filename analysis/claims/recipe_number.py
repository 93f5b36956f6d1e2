"""What claims on a quantity of an experiment's recipes have in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from analysis.claims.numbers import AnyNumber
from analysis.claims.recipes import DeclaredRecipe, Key, Settings, declared_recipe


class RecipeNumber(AnyNumber):
    """A number of one recipe, or of each of several.

    Attributes
    ----------
    recipe, over
        The recipe's place on the experiment's axes; what each of several adds to it.
    """

    experiment: str
    quantity: str
    recipe: Settings = Field(default_factory=dict)
    over: Annotated[tuple[Settings, ...], Field(min_length=1)] = ({},)

    def at(self, scales: tuple[float, ...]) -> list[DeclaredRecipe]:
        """Each of its recipes at some σw; all of the experiment's if there are none."""
        return [
            declared_recipe(self.experiment, {**self.recipe, **one}, scales) for one in self.over
        ]

    @property
    def recipes(self) -> list[DeclaredRecipe]:
        """The recipes it is about."""
        return self.at(())

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments it needs."""
        return (self.experiment,)

    def enough(self, keys: Collection[Key]) -> bool:
        """Whether it can be judged on the recipes of these keys: on all."""
        return all(recipe.key in keys for recipe in self.recipes)
