"""The paper's recipes in miniature: which recipe of a small experiment stands for which of them.

An experiment that says what it is a `miniature_of` has the axes of that experiment, and perhaps
more. `paper.toml` says which of its values stand for which; an axis without a word there has the
paper's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from pydantic import BaseModel, ConfigDict

from analysis.claims.recipes import DeclaredRecipe, declared_recipe
from analysis.estimates.recipe_labels import word
from suite.basics.settings import ConfigError
from suite.declarations.config import PERTURBED
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment

Value = str | int | float


class Correspondence(BaseModel):
    """Values of one axis, the paper's and those of the miniature that stand for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: tuple[Value, ...]
    miniature: tuple[Value, ...]


@dataclass(frozen=True)
class Miniature:
    """A small experiment and what its recipes stand for.

    Attributes
    ----------
    of
        The paper's experiment.
    axes
        Every axis of that but σw and the seed, each with the paper's values that have a
        counterpart, and that counterpart.
    own
        The values on axes that are its own alone: each makes it another miniature.
    """

    name: str
    of: str
    axes: Mapping[str, Mapping[Value, Value]]
    own: Mapping[str, Value]

    @property
    def label(self) -> str:
        """Such as 'mini-main', or 'mini-long (η=0.01)'."""
        words = ", ".join(word(axis, value) for axis, value in self.own.items())
        return f"{self.name} ({words})" if words else self.name

    def counterpart(self, recipe: DeclaredRecipe) -> DeclaredRecipe | str:
        """The recipe that stands for one of the paper's, or in words why there is none."""
        for axis, value in recipe.point.items():
            if value not in self.axes[axis]:
                return f"{self.name} has no counterpart of {axis}={value}"
        own = EXPERIMENTS[self.name].axes["sigma_w"]
        scales = tuple(scale for scale in recipe.scales if scale in own)
        if absent := {min(recipe.scales), max(recipe.scales)} - set(scales):
            return f"{self.name} has no run at σw={min(absent):g}"
        point = {axis: self.axes[axis][value] for axis, value in recipe.point.items()}
        return declared_recipe(self.name, {**point, **self.own}, scales)


def miniatures(declared: Mapping[str, Mapping[str, Correspondence]]) -> list[Miniature]:
    """All miniatures, in the order of the experiments, one for each value on axes of their own.

    Parameters
    ----------
    declared
        Miniature to axis to what corresponds.

    Raises
    ------
    ConfigError
        If there is no such miniature, axis or value, or two values stand for one.
    """
    names = [name for name, experiment in EXPERIMENTS.items() if experiment.miniature_of]
    for name in declared:
        if name not in names:
            raise ConfigError(
                f"miniature: must be an experiment that is one ({', '.join(names) or 'none is'}), "
                f"got {name!r}; give it a miniature_of, or leave its table out"
            )
    return [one for name in names for one in _miniatures(EXPERIMENTS[name], declared.get(name, {}))]


def _miniatures(own: Experiment, declared: Mapping[str, Correspondence]) -> list[Miniature]:
    if own.miniature_of not in EXPERIMENTS:
        raise ConfigError(
            f"miniature_of: must be an experiment, got {own.miniature_of!r} in {own.name}"
        )
    paper = EXPERIMENTS[own.miniature_of]
    needed, given = ([n for n in one.axes if n not in PERTURBED] for one in (paper, own))
    if not set(needed) <= set(given):
        raise ConfigError(
            f"miniature.{own.name}: must have the axes of {paper.name} ({', '.join(needed)}), "
            f"got {', '.join(given)}"
        )
    for axis in declared:
        if axis not in needed:
            raise ConfigError(
                f"miniature.{own.name}: must be of the axes {', '.join(needed)}, got {axis!r}"
            )
    axes = {
        axis: _corresponding(f"miniature.{own.name}.{axis}", declared[axis], paper, own, axis)
        if axis in declared
        else {value: value for value in paper.axes[axis] if value in own.axes[axis]}
        for axis in needed
    }
    for axis, values in axes.items():
        if not values:
            raise ConfigError(
                f"miniature.{own.name}.{axis}: must say which values stand for those of "
                f"{paper.name}, got none in common; name them in paper.toml"
            )
    alone = [axis for axis in given if axis not in needed]
    return [
        Miniature(own.name, paper.name, axes, dict(zip(alone, values, strict=True)))
        for values in product(*(own.axes[axis] for axis in alone))
    ]


def _corresponding(
    where: str, declared: Correspondence, paper: Experiment, own: Experiment, axis: str
) -> Mapping[Value, Value]:
    sides = ((paper, declared.paper), (own, declared.miniature))
    for experiment, values in sides:
        for value in values:
            if value not in experiment.axes[axis]:
                known = ", ".join(str(one) for one in experiment.axes[axis])
                raise ConfigError(f"{where}: must be of {known} in {experiment.name}, got {value}")
        if len(set(values)) < len(values):
            raise ConfigError(f"{where}: must have each value once, got {_written(values)}")
    if len(declared.paper) != len(declared.miniature):
        raise ConfigError(
            f"{where}: must give as many values of the miniature as of the paper, got "
            f"{_written(declared.paper)} and {_written(declared.miniature)}"
        )
    found = dict(zip(declared.paper, declared.miniature, strict=True))
    if not _same_order(found):
        raise ConfigError(
            f"{where}: must keep the order of the paper's numbers, got "
            f"{_written(declared.miniature)} for {_written(declared.paper)}"
        )
    return found


def _same_order(found: Mapping[Value, Value]) -> bool:
    """Whether larger numbers of the paper have larger counterparts; words have no order."""
    if any(isinstance(value, str) for pair in found.items() for value in pair):
        return True
    return all(float(a) < float(b) for a, b in pairwise(found[value] for value in sorted(found)))


def _written(values: Sequence[Value]) -> str:
    return ", ".join(str(value) for value in values)
