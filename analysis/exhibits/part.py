"""What one kind of our own exhibits makes of an experiment, or why it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.exhibits.columns import named
from analysis.exhibits.source import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CannotError(Exception):
    """The runs do not allow an exhibit; the message says why, in one line."""


@dataclass(frozen=True)
class Part:
    """What a maker makes."""

    caption: list[str]
    figure: Figure | None
    table: pd.DataFrame | None
    page: str = ""  # of several: its number or name


def refuse_one_scale(source: Source) -> None:
    """See to it that some recipe has two σw.

    Raises
    ------
    CannotError
        If none has.
    """
    if not source.several_scales():
        raise CannotError(f"no recipe has runs at two {source.perturbation.symbol}")


def refuse_categories(source: Source) -> None:
    """See to it that the perturbed setting has numbers, on which there is a slope.

    Raises
    ------
    CannotError
        If it has categories.
    """
    if not source.perturbation.numeric:
        raise CannotError(f"{source.perturbation.name} has categories, on which there is no slope")


def recipe_rows(
    source: Source, found: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], Mapping[Any, Any]]]:
    """What names each recipe of a source in a table, and its row of an estimate."""
    about = source.about.to_dict("records")
    for one, row in zip(about, found.to_dict("records"), strict=True):
        yield named(one, source), row


def with_ends(name: str, row: Mapping[Any, Any], key: str, factor: float = 1.0) -> dict[str, float]:
    """A number's column and those of the ends of its interval, as `analysis.tables` joins them."""
    columns = {name: factor * row[key]}
    return columns | {f"{name} {e}": factor * row[f"{key}_{e}"] for e in ("low", "high")}
