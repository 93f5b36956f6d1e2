"""The claim that two grids of σw say the same of one recipe, and the parts that decide it.

Both quantities are taken from the same runs' seeds, and their difference pairwise. That its whole
interval lies between −(value + tolerance) and value + tolerance is a test of equivalence: two
one-sided tests at 2.5 % (Schuirmann 1987). No difference seen is none.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from analysis.claims.numbers import Declared
from analysis.claims.recipe_number import RecipeNumber
from analysis.claims.recipes import DeclaredRecipe
from analysis.claims.statistics import QUANTITIES, check_quantity


class Grid(Declared):
    """Some σw of an experiment, all by default."""

    name: str
    scales: tuple[float, ...] = ()


class EquivalenceClaim(RecipeNumber):
    """A quantity of each of some recipes, over one grid less that over another, is near 0."""

    kind: Literal["equivalence"]
    grids: tuple[Grid, Grid]

    def of(self, grid: Grid) -> list[DeclaredRecipe]:
        """Each of its recipes at the σw of a grid."""
        return self.at(grid.scales)

    @property
    def recipes(self) -> list[DeclaredRecipe]:
        """The recipes it is about, on either grid."""
        return [recipe for grid in self.grids for recipe in self.of(grid)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_quantity(self.quantity, self.unit)
        quantity = QUANTITIES[self.quantity]
        if quantity.of != "recipe" or not quantity.linear:
            raise ValueError(f"a quantity over σw that has differences, got {self.quantity}")
        lower, upper = self.bounds
        if not -float("inf") < lower < 0 < upper < float("inf"):
            raise ValueError(f"a range on both sides of 0, got {lower:g} to {upper:g}")
        if not self.not_reduced:
            raise ValueError("why it is not judged at reduced scale (not_reduced)")
        first, second = (set(one.scales) for one in (self.of(g)[0] for g in self.grids))
        if first == second:
            raise ValueError("grids of different σw")
        return self
