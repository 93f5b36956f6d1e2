"""Where the runs of a claim are looked for, and at which σw all its recipes have them.

A claim is judged at the paper's recipes, or at others that stand for them: at reduced scale. Where
runs are missing at some σw it is judged on fewer, the same in all its recipes: on the five of the
paper's ablations, or on those that are there. The two ends are always among them, as a spread over
part of the range is another quantity. Runs that diverged are not missing: leaving out their σw
would leave a memory of survivors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.claims.recipes import DeclaredRecipe, Key
from analysis.claims.runs import ExperimentRuns, Gap, Sample, sample
from suite.declarations.paper_experiments import SIGMA_W_COARSE

FEWEST_SCALES = len(SIGMA_W_COARSE)
Scales = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """The runs of some recipes.

    Attributes
    ----------
    samples
        One for each recipe, or none if there are gaps.
    points
        Such as '5-point', where there are fewer σw than the paper has; else ''.
    """

    samples: Sequence[Sample] = ()
    gaps: Sequence[Gap] = ()
    points: str = ""


@dataclass(frozen=True)
class Source:
    """Where runs are looked for.

    Attributes
    ----------
    counterparts
        By a recipe's `key` the one that stands for it, where another one does.
    fewest_scales
        On how few σw a quantity over σw may be judged.
    """

    experiments: Mapping[str, ExperimentRuns]
    counterparts: Mapping[Key, DeclaredRecipe] = field(default_factory=dict)
    fewest_scales: int = FEWEST_SCALES

    @property
    def reduced(self) -> bool:
        """Whether other recipes stand for the paper's."""
        return bool(self.counterparts)

    def has(self, recipe: DeclaredRecipe) -> bool:
        """Whether there is a recipe to look for."""
        return not self.reduced or recipe.key in self.counterparts

    def samples(
        self, recipes: Sequence[DeclaredRecipe], fewest: int, *, all_scales: bool = False
    ) -> Found:
        """The runs of the recipes, for at least `fewest` seeds at every σw that is judged.

        Parameters
        ----------
        all_scales
            Whether it must be all that the recipes name.
        """
        wanted = [self.counterparts.get(recipe.key, recipe) for recipe in recipes]
        gaps: list[Gap] = []
        for scales in self._choices(wanted, fewest):
            found = [
                sample(self.experiments, replace(recipe, scales=own), fewest)
                for recipe, own in zip(wanted, scales, strict=True)
            ]
            here = [one for one in found if isinstance(one, Gap)]
            if not here:
                samples = [one for one in found if isinstance(one, Sample)]
                return Found(samples, points=_points(recipes, scales))
            gaps = gaps or here
            if all_scales or not all(gap.trainable for gap in here):
                break
        return Found(gaps=gaps)

    def _choices(self, wanted: Sequence[DeclaredRecipe], fewest: int) -> Iterator[list[Scales]]:
        """σw for each recipe, the best choice first."""
        tried = [[recipe.scales for recipe in wanted]]
        yield tried[0]
        for kept in (set(SIGMA_W_COARSE), self._present(wanted, fewest)):
            choice = [tuple(s for s in one.scales if s in kept) for one in wanted]
            if choice not in tried and all(
                self._enough(one, own) for one, own in zip(wanted, choice, strict=True)
            ):
                tried.append(choice)
                yield choice

    def _enough(self, recipe: DeclaredRecipe, scales: Scales) -> bool:
        ends = {min(recipe.scales), max(recipe.scales)}
        few = len(scales) < min(self.fewest_scales, len(recipe.scales))
        return ends <= set(scales) and not few

    def _present(self, wanted: Sequence[DeclaredRecipe], fewest: int) -> set[float]:
        """The σw at which every recipe has enough runs."""
        present = {scale for recipe in wanted for scale in recipe.scales}
        for recipe in wanted:
            experiment = self.experiments.get(recipe.experiment)
            found = experiment and experiment.recipes.get(recipe.config.fingerprint)
            if not found:
                return set()
            there = found.scales[np.sum(found.rows >= 0, axis=1) >= fewest]
            present &= {round(scale, 9) for scale in there.tolist()}
        return present


def _points(recipes: Sequence[DeclaredRecipe], scales: Sequence[Scales]) -> str:
    fewer = {
        len(own)
        for recipe, own in zip(recipes, scales, strict=True)
        if len(own) < len(recipe.scales)
    }
    return f"{min(fewer)}-point" if fewer else ""
