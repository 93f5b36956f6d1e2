"""A figure or table with its caption, which says of which runs it is and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.estimates.recipe_labels import word
from analysis.exhibits.source import Source, differing
from analysis.exhibits.symbol import with_symbol
from suite.declarations.experiments import EXPERIMENTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BAND = "Lines are means over seeds, bands reach from the 10th to the 90th percentile over seeds."
DEVIATION = "± is the standard deviation over seeds."
SPREAD = (
    "Spread: largest minus smallest mean over {perturbed}, which noise makes too large; in "
    "brackets the 95 % interval of the true spread, which allows for that (none for one seed)."
)
KNOWN = ("model", "dataset", "epochs", "learning_rate", "schedule", "norm", "augmentation")


@dataclass(frozen=True)
class Exhibit:
    """A figure, a table, or both; or, where the runs allow neither, why not.

    Attributes
    ----------
    name
        Such as 'figure-2', 'table-4', or, of our own, 'forgetting-law'.
    title
        What it is about.
    place
        Where the paper has it, such as 'Figure 2'; empty for our own.
    experiment
        The experiments that it was made from, with commas between.
    caption
        What is shown, how it is defined, how many seeds, which uncertainty, and what is missing,
        censored or diverged.
    figure, table
        The table itself, or the numbers behind the figure; None where there is none.
    missing
        Empty where it was made; else why not, and the command that supplies it, in one line.
    """

    name: str
    title: str
    place: str
    experiment: str
    caption: str
    figure: Figure | None = None
    table: pd.DataFrame | None = None
    missing: str = ""


def absent(name: str, title: str, place: str, missing: str) -> Exhibit:
    """An exhibit that could not be made."""
    return Exhibit(name, with_symbol(title, None), place, "", "", missing=missing)


# --- captions ---
def caption(parts: Sequence[str], sources: Sequence[Source], paper: str = "") -> str:
    """Sentences on what is shown, then on the runs.

    Parameters
    ----------
    parts
        Sentences; empty ones are left out. '{perturbed}' is what the perturbed setting is called.
    sources
        All runs that went in, the first experiment first.
    paper
        The paper's experiment that the exhibit is about; empty for our own.
    """
    said = [*parts, *(runs_text(source) for source in sources), stand_in(sources[0], paper)]
    return with_symbol(" ".join(sentence for sentence in said if sentence), sources[0])


def runs_text(source: Source) -> str:
    """Which runs of an experiment, at what settings, and how many diverged."""
    recipes = source.recipes
    shared = [word(name, value) for name, value in _shared(source).items()]
    finished = sum(recipe.finished for recipe in recipes)
    of = f"{len(recipes)} recipe{'s' * (len(recipes) > 1)}"
    text = (
        f"{source.experiment}: {finished:,} runs of {of} at {len(source.scale_values())} "
        f"{source.perturbation.symbol}, {seeds_text(source)} ({', '.join(shared)})"
    )
    diverged = sum(recipe.diverged_count for recipe in recipes)
    if diverged:
        text += (
            f"; {diverged} of them diverged and {'counts' if diverged == 1 else 'count'} as what "
        )
        text += "they return"
    return f"{text}."


def seeds_text(source: Source) -> str:
    """The number of seeds with a run, at each recipe and σw."""
    counts = np.concatenate([(recipe.rows >= 0).sum(1) for recipe in source.recipes])
    low, high = int(counts.min()), int(counts.max())
    return f"n = {low} seed{'s' * (low != 1)}" if low == high else f"n = {low} to {high} seeds"


def stand_in(source: Source, paper: str) -> str:
    """A sentence that the runs are not the paper's; empty where they are."""
    if not paper:
        return ""
    if source.experiment != paper:
        return f"The paper's runs are those of {paper}; these are {source.experiment}'s."
    others = differing(source, paper)
    if not others:
        return ""
    return f"Not the paper's recipes: {others[0]} in {len(others)} of {len(source.recipes)}."


def needs(what: str, experiment: str) -> str:
    """Why there is no exhibit, and the command that makes the runs it needs."""
    about = EXPERIMENTS[experiment].description.split(":")[0]
    return f"needs {what} ({about}): python -m suite.grid --experiment {experiment}"


def first_of(names: Sequence[str], most: int, what: str) -> str:
    """A sentence that only some are drawn; empty where all are."""
    if len(names) <= most:
        return ""
    return (
        f"Drawn are the first {most} of {len(names)} {what}; the numbers of all are in the table."
    )


def _shared(source: Source) -> dict[str, object]:
    configs = [recipe.config for recipe in source.recipes]
    values = {name: {getattr(config, name) for config in configs} for name in KNOWN}
    return {name: found.pop() for name, found in values.items() if len(found) == 1}
