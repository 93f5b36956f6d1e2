"""Which sweep to run next: the one that decides most open claims for its optimizer steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from analysis.claims.arithmetic import train_images
from analysis.claims.recipes import DeclaredRecipe, command, declared_recipe, spanned
from analysis.claims.verdicts import Judged
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.schedule import steps_per_epoch


@dataclass(frozen=True)
class Sweep:
    """Recipes of one experiment and batch size, and the claims that they would decide.

    Attributes
    ----------
    steps
        Optimizer steps of all their runs, as if none was there.
    """

    command: str
    runs: int
    steps: int
    claims: int


def next_sweep(judged: Sequence[Judged], seeds: int) -> Sweep | None:
    """The sweep of one experiment and batch size that decides most claims a step.

    Parameters
    ----------
    judged
        All claims.
    seeds
        That a number needs.

    Returns
    -------
    Sweep or None
        None where no training of one experiment at one batch size would decide a claim.
    """
    groups: dict[tuple[str, object], list[Mapping[str, DeclaredRecipe]]] = {}
    for one in judged:
        needed = {(gap.recipe.experiment, gap.recipe.point["batch_size"]) for gap in one.gaps}
        if len(needed) == 1 and all(gap.trainable for gap in one.gaps):
            recipes = {gap.recipe.config.fingerprint: gap.recipe for gap in one.gaps}
            groups.setdefault(needed.pop(), []).append(recipes)
    sweeps = [_sweep(claims, seeds) for claims in groups.values()]
    return max(sweeps, key=lambda sweep: sweep.claims / sweep.steps, default=None)


def _sweep(claims: Sequence[Mapping[str, DeclaredRecipe]], seeds: int) -> Sweep:
    needed = [one for recipes in claims for one in recipes.values()]
    name, axes = needed[0].experiment, spanned(needed)
    each = [
        declared_recipe(name, dict(zip(axes, values, strict=True)))
        for values in product(*axes.values())
    ]
    declared = EXPERIMENTS[name].axes
    runs = len(declared["sigma_w"]) * max(len(declared["seed"]), seeds)
    steps = sum(runs * one.config.epochs * _steps(one) for one in each)
    return Sweep(command(needed, seeds), runs * len(each), steps, len(claims))


def _steps(one: DeclaredRecipe) -> int:
    return steps_per_epoch(one.config, train_images(one.config))
