"""The claim that clocks of different mechanisms are in an order: arithmetic alone.

Clocks differ by orders of magnitude, so that two are compared by their ratio, with η_k = η0 as in
the paper. What ≫ or ≳ asks for is a factor on one of the two.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from analysis.claims.numbers import NO_EXPERIMENT, AnyClaim, Declared
from analysis.claims.recipes import DeclaredRecipe, Settings, declared_recipe


class ClockTerm(Declared):
    """The clock of a recipe at the end of training; `factor` multiplies it."""

    name: str
    base: str
    recipe: Settings
    clock: Literal["T_SGD", "T_L2", "T_adapt"]
    factor: Annotated[float, Field(gt=0)] = 1.0

    @property
    def declared(self) -> DeclaredRecipe:
        """Its recipe."""
        return declared_recipe(self.base, self.recipe)


class ClockOrderClaim(AnyClaim):
    """Every clock of a group exceeds every clock of the next group."""

    kind: Literal["clock-order"]
    order: Annotated[tuple[tuple[ClockTerm, ...], ...], Field(min_length=2)]

    @property
    def experiments(self) -> tuple[str, ...]:
        """None: it needs no runs."""
        return (NO_EXPERIMENT,)

    @property
    def terms(self) -> list[ClockTerm]:
        """All terms, in their order."""
        return [term for group in self.order for term in group]

    @property
    def paper_text(self) -> str:
        """The order in words."""
        groups = (", ".join(term.name for term in group) for group in self.order)
        return self.paper or " > ".join(groups)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len({term.name for term in self.terms}) < len(self.terms):
            raise ValueError("each name of a term once")
        if self.unit != "ratio":
            raise ValueError(f"clocks are compared by their ratio, got unit {self.unit}")
        assert all(term.declared for term in self.terms)
        return self
