"""Which configurations a claim is about, and the command that trains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.estimates.recipe_labels import word
from suite.basics.settings import ConfigError
from suite.declarations.config import PERTURBED, RunConfig
from suite.declarations.experiments import EXPERIMENTS

Key = tuple[str, str, tuple[float, ...]]
Settings = Mapping[str, str | int | float]


@dataclass(frozen=True)
class DeclaredRecipe:
    """A recipe as a claim names it: by the axes of an experiment, at some of its σw.

    Attributes
    ----------
    point
        Axis to value, for all axes but σw and the seed.
    config
        The recipe, with σw and the seed at their defaults.
    scales
        The σw that are needed.
    changes
        Settings at which its runs are, other than the experiment declares.
    """

    experiment: str
    point: Mapping[str, str | int | float]
    config: RunConfig
    scales: tuple[float, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What tells it from all others: experiments may share a recipe, at other σw."""
        return self.experiment, self.config.fingerprint, self.scales

    @property
    def varied(self) -> set[str]:
        """The settings in which recipes of the experiment differ."""
        bundles = EXPERIMENTS[self.experiment].bundles
        inside = {name for axis in bundles.values() for one in axis.values() for name in one}
        return {*self.point, *inside}

    @property
    def label(self) -> str:
        """Such as 'sgd b128'."""
        return " ".join(word(name, value) for name, value in self.point.items())


def declared_recipe(
    experiment: str, point: Mapping[str, str | int | float], scales: Sequence[float] = ()
) -> DeclaredRecipe:
    """A recipe by the axes of its experiment; all σw of the experiment by default.

    Raises
    ------
    ConfigError
        If an axis is not given, or not with one of its values.
    """
    if experiment not in EXPERIMENTS:
        raise ConfigError(f"experiment: must be of {', '.join(EXPERIMENTS)}, got {experiment!r}")
    found = EXPERIMENTS[experiment]
    axes = {name: values for name, values in found.axes.items() if name not in PERTURBED}
    if set(point) != set(axes):
        raise ConfigError(f"recipe: must give {', '.join(axes)} of {experiment}, got {dict(point)}")
    for name, value in point.items():
        if value not in axes[name]:
            raise ConfigError(f"{name}: must be one of {axes[name]} in {experiment}, got {value!r}")
    if absent := set(scales) - set(found.axes["sigma_w"]):
        raise ConfigError(f"scales: must be σw of {experiment}, got {sorted(absent)}")
    ordered = {name: point[name] for name in axes}
    wanted = tuple(scales) or tuple(found.axes["sigma_w"])
    return DeclaredRecipe(experiment, ordered, found.config(ordered), wanted)


def spanned(recipes: Sequence[DeclaredRecipe]) -> dict[str, list[str | int | float]]:
    """Every axis with its values in recipes of one experiment, in the experiment's order."""
    axes = EXPERIMENTS[recipes[0].experiment].axes
    return {
        axis: [value for value in axes[axis] if any(one.point[axis] == value for one in recipes)]
        for axis in recipes[0].point
    }


def command(recipes: Sequence[DeclaredRecipe], seeds: int, *, whole: bool = False) -> str:
    """The sweep that trains recipes of one experiment, at all its σw.

    Parameters
    ----------
    recipes
        Of one experiment, with the same changes; what has been trained already costs nothing.
    seeds
        How many are needed: an experiment that is declared with fewer is asked for more.
    whole
        All recipes of the experiment.
    """
    name = recipes[0].experiment
    words = [f"python -m suite.grid --experiment {name}"]
    axes = EXPERIMENTS[name].axes
    for axis, values in spanned(recipes).items():
        if len(values) < len(axes[axis]) and not whole:
            words.append(f"--set {axis}={','.join(f'{value}' for value in values)}")
    words += [f"--set {setting}={value}" for setting, value in recipes[0].changes.items()]
    if len(axes["seed"]) < seeds:
        more = [seed for seed in EXPERIMENTS["main"].axes["seed"] if seed not in axes["seed"]]
        chosen = [*axes["seed"], *more][:seeds]
        words.append(f"--set seed={','.join(str(seed) for seed in chosen)}")
    return " ".join(words)
