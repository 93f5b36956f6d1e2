"""The data file of the paper's numbers and claims, `paper.toml`: its fields, checked on loading.

A claim names a recipe by the axes of an experiment of `suite.declarations.experiments`, all of
them, so that it stands for exactly one configuration per σw and seed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from analysis.claims.clock_order import ClockOrderClaim
from analysis.claims.equivalence import EquivalenceClaim
from analysis.claims.miniatures import Correspondence, Miniature, miniatures
from analysis.claims.numbers import NO_EXPERIMENT, AnyClaim, AnyNumber, Declared, Tolerance
from analysis.claims.recipe_number import RecipeNumber
from analysis.claims.recipes import DeclaredRecipe, Key, Settings, declared_recipe
from analysis.claims.statistics import QUANTITIES, check_quantity
from analysis.estimates.clock_axis import Axis
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig
from suite.minimal_model.experiments import FIGURE_9

Numbers = tuple[float, ...]
FEWEST_CURVES = 3  # of a collapse at reduced scale


class NumberClaim(RecipeNumber):
    """A quantity of one recipe, or of each of several; at every σw if it is a run's."""

    kind: Literal["number"]
    scales: Numbers = ()

    @property
    def recipes(self) -> list[DeclaredRecipe]:
        """The recipes it is about, at its σw."""
        return self.at(self.scales)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_quantity(self.quantity, self.unit)
        if self.value is not None and (self.reduced or self.not_reduced):
            raise ValueError("no word on reduced scale, as a value is judged at full scale alone")
        if self.value is None and bool(self.reduced) == bool(self.not_reduced):
            raise ValueError("why a bound is judged at reduced scale (reduced) or not_reduced")
        assert self.recipes
        return self


class Term(Declared):
    """One side of a comparison; `factor` multiplies its quantity."""

    name: str
    recipe: Settings = Field(default_factory=dict)
    experiment: str = ""
    scales: Numbers = ()
    factor: float = 1.0


class OrderClaim(AnyClaim):
    """Every term of a group exceeds every term of the next group."""

    kind: Literal["order"]
    experiment: str
    quantity: str
    recipe: Settings = Field(default_factory=dict)
    order: Annotated[tuple[tuple[Term, ...], ...], Field(min_length=2)]

    def of(self, term: Term) -> DeclaredRecipe:
        """The recipe of one of its terms."""
        settings = {**self.recipe, **term.recipe}
        return declared_recipe(term.experiment or self.experiment, settings, term.scales)

    @property
    def terms(self) -> list[Term]:
        """All terms, in their order."""
        return [term for group in self.order for term in group]

    @property
    def recipes(self) -> list[DeclaredRecipe]:
        """The recipes of its terms."""
        return [self.of(term) for term in self.terms]

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments it needs, its own first."""
        return tuple(dict.fromkeys([self.experiment, *(r.experiment for r in self.recipes)]))

    def enough(self, keys: Collection[Key]) -> bool:
        """Whether it can be judged on the recipes of these keys: on terms of two groups."""
        groups = [any(self.of(term).key in keys for term in group) for group in self.order]
        return sum(groups) > 1

    @property
    def paper_text(self) -> str:
        """The order in words."""
        groups = (", ".join(term.name for term in group) for group in self.order)
        return self.paper or " > ".join(groups)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_quantity(self.quantity, self.unit)
        if not QUANTITIES[self.quantity].linear:
            raise ValueError(f"an order of a quantity without differences, got {self.quantity}")
        if len({term.name for term in self.terms}) < len(self.terms):
            raise ValueError("each name of a term once")
        if QUANTITIES[self.quantity].of == "run" and any(len(t.scales) != 1 for t in self.terms):
            raise ValueError("each term of an order of runs needs one σw")
        assert self.recipes
        return self


class CollapseClaim(AnyClaim):
    """The |β(t)| of several batch sizes fall on one curve of a clock."""

    kind: Literal["collapse"]
    experiment: str
    recipe: Settings
    batch_sizes: tuple[int, ...]
    axis: Axis
    tolerance: str

    @property
    def recipes(self) -> list[DeclaredRecipe]:
        """One for each batch size."""
        return [
            declared_recipe(self.experiment, {**self.recipe, "batch_size": b})
            for b in self.batch_sizes
        ]

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments it needs."""
        return (self.experiment,)

    def enough(self, keys: Collection[Key]) -> bool:
        """Whether it can be judged on the recipes of these keys: on three curves."""
        return sum(recipe.key in keys for recipe in self.recipes) >= FEWEST_CURVES

    @property
    def paper_text(self) -> str:
        """The paper's word."""
        return self.paper


class ClockClaim(AnyNumber):
    """A clock at the end of a recipe, by the paper's arithmetic: arithmetic alone."""

    kind: Literal["clock"]
    base: str
    recipe: Settings
    clock: Literal["T_SGD", "T_L2", "T_adapt"]

    @property
    def experiments(self) -> tuple[str, ...]:
        """None: it needs no runs."""
        return (NO_EXPERIMENT,)


class MinimalClaim(AnyNumber):
    """The imbalance D of the minimal model (`suite.minimal_model`), at every rate."""

    kind: Literal["minimal"]
    trajectory: str
    learning_rates: Annotated[Numbers, Field(min_length=1)]
    when: Literal["start", "end"] = "end"

    @property
    def experiments(self) -> tuple[str, ...]:
        """None: it needs no runs."""
        return (NO_EXPERIMENT,)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.trajectory not in {one.name for one in FIGURE_9}:
            raise ValueError(f"a trajectory of Figure 9, got {self.trajectory}")
        return self


TrainedClaim = NumberClaim | OrderClaim | EquivalenceClaim | CollapseClaim
ArithmeticClaim = ClockClaim | ClockOrderClaim | MinimalClaim
Claim = TrainedClaim | ArithmeticClaim


class Seeds(Declared):
    """Fewest seeds, at every σw, for a verdict on a number and on an order."""

    number: Annotated[int, Field(ge=2)]
    order: Annotated[int, Field(ge=2)]


class PaperFile(Declared):
    """All of `paper.toml`."""

    seeds: Seeds
    tolerance: Mapping[str, Tolerance]
    miniature: Mapping[str, Mapping[str, Correspondence]] = Field(default_factory=dict)
    claim: tuple[Annotated[Claim, Field(discriminator="kind")], ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [one.id for one in self.claim]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"every id once, got {', '.join(sorted(twice))} again")
        for claim in self.claim:
            if isinstance(claim, AnyNumber) and claim.tolerance not in self.tolerance:
                raise ValueError(f"{claim.id}: a declared tolerance, got {claim.tolerance}")
            for setting in claim.about:
                if setting not in RunConfig.model_fields:
                    raise ValueError(f"{claim.id}: about settings of a run, got {setting}")
        assert self.miniatures is not None
        return self

    @property
    def miniatures(self) -> list[Miniature]:
        """The small experiments whose recipes stand for the paper's."""
        return miniatures(self.miniature)


@cache
def paper() -> PaperFile:
    """The file as it is shipped.

    Raises
    ------
    ConfigError
        Where it is not consistent with itself, the experiments or the quantities.
    """
    return read(Path(__file__).with_name("paper.toml"))


def read(path: Path) -> PaperFile:
    """A file of claims.

    Raises
    ------
    ConfigError
        In one line, for the first mistake in it.
    """
    try:
        return PaperFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name}: must be TOML; {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        says = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path.name}: {f'{place}: ' if place else ''}{says}") from None
