"""A figure or table of a report, with all that is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


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
    figure: Figure | None
    table: pd.DataFrame | None
    missing: str


def absent(name: str, title: str, place: str, missing: str) -> Exhibit:
    """An exhibit that could not be made."""
    return Exhibit(name, title, place, "", "", None, None, missing)
