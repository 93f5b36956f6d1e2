"""Where a claim's recipes have counterparts at reduced scale, and whether those can be compared.

A place is an experiment whose runs stand for those of one of the paper's: a miniature of it, or the
experiment itself with other settings, such as fewer epochs or a smaller width. Recipes correspond
by the axes of the experiment. All else may differ from the paper's, but alike in all recipes of a
claim: what the paper holds equal among them is equal among their counterparts, and numbers in which
the paper's differ do not differ the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

from analysis.claims.differences import acting
from analysis.claims.matching import found_changes
from analysis.claims.miniatures import Miniature
from analysis.claims.paper_file import TrainedClaim
from analysis.claims.recipes import DeclaredRecipe, Key
from analysis.claims.runs import ExperimentRuns
from analysis.estimates.recipe_labels import word
from suite.basics.settings import ConfigError
from suite.declarations.experiments import EXPERIMENTS


@dataclass(frozen=True)
class Place:
    """An experiment whose runs stand for those of one of the paper's.

    Attributes
    ----------
    of
        The paper's experiment.
    experiment
        Where the runs are: a miniature, or the same.
    changes
        Settings at which they are, other than that experiment declares.
    """

    of: str
    experiment: str
    miniature: Miniature | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_scale(self) -> bool:
        """Whether the runs are the paper's own recipes."""
        return self.miniature is None and not self.changes

    @property
    def label(self) -> str:
        """Such as 'mini-main', or 'main (width 8, 20 epochs)'."""
        words = ", ".join(word(name, value) for name, value in self.changes.items())
        name = self.miniature.label if self.miniature else self.experiment
        return f"{name} ({words})" if words else name

    def counterpart(self, recipe: DeclaredRecipe) -> DeclaredRecipe | str:
        """The recipe that stands for one of the paper's, or in words why there is none."""
        own = self.miniature.counterpart(recipe) if self.miniature else recipe
        if isinstance(own, str) or not self.changes:
            return own
        try:
            return replace(own, config=own.config.with_(**self.changes), changes=self.changes)
        except ConfigError:  # such as another momentum, for a rule that has none
            return f"{self.label} has no counterpart of {recipe.label}"


def find_places(
    experiments: Mapping[str, ExperimentRuns], miniatures: Sequence[Miniature]
) -> dict[str, list[Place]]:
    """Each experiment of the paper to all places of its counterparts, trained or not.

    Parameters
    ----------
    experiments
        What has been trained.
    """
    of: dict[str, list[tuple[str, Miniature | None]]] = {}
    for name, experiment in EXPERIMENTS.items():
        if not experiment.miniature_of:
            of.setdefault(name, []).append((name, None))
    for miniature in miniatures:
        of[miniature.of].append((miniature.name, miniature))
    return {
        paper: [
            Place(paper, name, miniature, changes)
            for name, miniature in names
            for changes in _trained(name, experiments)
        ]
        for paper, names in of.items()
    }


def _trained(name: str, experiments: Mapping[str, ExperimentRuns]) -> list[dict[str, Any]]:
    """The changes with which an experiment was trained, and always none."""
    if name not in experiments:
        return [{}]
    configs = [recipe.config for recipe in experiments[name].recipes.values()]
    found = found_changes(EXPERIMENTS[name], configs)
    return found if {} in found else [{}, *found]


@dataclass(frozen=True)
class ReducedScale:
    """Counterparts of a claim's recipes that can be compared with each other.

    Attributes
    ----------
    pairs
        Each of the paper's recipes that has one, with its counterpart.
    """

    places: Sequence[Place]
    pairs: Sequence[tuple[DeclaredRecipe, DeclaredRecipe]]

    @property
    def label(self) -> str:
        """Such as 'mini-long, mini-main'."""
        return ", ".join(place.label for place in self.places)

    @property
    def counterparts(self) -> Mapping[Key, DeclaredRecipe]:
        """By the key of the paper's recipe."""
        return {paper.key: other for paper, other in self.pairs}


def reduced_scales(
    claim: TrainedClaim, places: Mapping[str, Sequence[Place]]
) -> Iterator[ReducedScale | str]:
    """All on which a claim can be judged, or for each on which it cannot a word why."""
    distinct = list({recipe.key: recipe for recipe in claim.recipes}.values())
    needed = dict.fromkeys(recipe.experiment for recipe in distinct)
    for chosen in product(*(places[name] for name in needed)):
        small = {place.miniature is not None for place in chosen}
        if len(small) > 1 or all(place.full_scale for place in chosen):
            continue
        by_name = dict(zip(needed, chosen, strict=True))
        found = [(one, by_name[one.experiment].counterpart(one)) for one in distinct]
        pairs = [(paper, other) for paper, other in found if not isinstance(other, str)]
        if claim.enough({paper.key for paper, _ in pairs}):
            yield incomparable(pairs, claim.about) or ReducedScale(chosen, pairs)
        else:
            yield next(other for _, other in found if isinstance(other, str))


def incomparable(
    pairs: Sequence[tuple[DeclaredRecipe, DeclaredRecipe]], about: Sequence[str] = ()
) -> str:
    """Why counterparts cannot be compared as the paper's recipes are; '' if they can.

    Recipes of one experiment can: it declares them as each other's.

    Parameters
    ----------
    pairs
        The paper's recipe and its counterpart.
    about
        Settings in which the counterparts have to differ.
    """
    for setting in about:
        values = [acting(other.config).get(setting) for _, other in pairs]
        if len(set(values)) == 1:
            others = ", ".join(dict.fromkeys(other.experiment for _, other in pairs))
            return f"{others}: all have {word(setting, values[0])}"
    for (paper, other), (paper_2, other_2) in combinations(pairs, 2):
        if paper.experiment != paper_2.experiment and (
            name := _unequal((paper, paper_2), (other, other_2))
        ):
            values = [acting(one.config)[name] for one in (other, other_2)]
            written = [word(name, value) for value in values]
            return (
                f"{other.experiment} and {other_2.experiment}: {' and '.join(written)} "
                "cannot be compared"
            )
    return ""


def _unequal(
    papers: tuple[DeclaredRecipe, DeclaredRecipe], others: tuple[DeclaredRecipe, DeclaredRecipe]
) -> str:
    """A setting that is equal in the paper's two recipes and not in the others, or turned round."""
    (a, b), (own_a, own_b) = ([acting(one.config) for one in two] for two in (papers, others))
    for name in own_a:
        if name not in own_b or own_a[name] == own_b[name]:
            continue
        if a.get(name) == b.get(name):
            return name
        if _turned_round(a.get(name), b.get(name)) != _turned_round(own_a[name], own_b[name]):
            return name
    return ""


def _turned_round(first: object, second: object) -> bool:
    """Whether two numbers fall; words do not."""
    return isinstance(first, int | float) and isinstance(second, int | float) and first > second
