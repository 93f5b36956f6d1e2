"""Frames as the report's tables: what each cell says, how it looks, and what it is sorted by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from analysis.claims.frame import is_arithmetic
from analysis.claims.text import (
    MARKS,
    REDUCED_MARKS,
    judged_reduced,
    marked,
    reduced_marked,
    reduced_ours,
)
from analysis.tables import DEVIATION, INTERVAL, joined, one_heading
from analysis.units import with_interval

PROSE = 32  # characters from which a text may break into lines
CLAIM_COLUMNS = {
    "verdict": "Verdict",
    "reduced": "At reduced scale",
    "statement": "Statement",
    "paper": "Paper",
    "ours": "Ours [95 %]",
    "unit": "Unit",
    "n": "Seeds",
    "reason": "Reason",
    "experiment": "Experiment",
    "place": "Place",
    "reduced_ours": "Reduced [95 %]",
    "reduced_n": "Seeds there",
    "reduced_on": "On",
    "reduced_differs": "Differs by",
    "reduced_reason": "Reason there",
}
CLAIM_NUMBERS = ("paper", "ours", "n", "reduced_ours", "reduced_n")


@dataclass(frozen=True)
class Heading:
    """Of a column; `number` if it holds numbers."""

    text: str
    number: bool


@dataclass(frozen=True)
class Cell:
    """Text, the key by which it is sorted ("" is last), and classes of the style sheet."""

    text: str
    key: str
    look: str


@dataclass(frozen=True)
class TableView:
    """Headings, and cells row by row."""

    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class ClaimsView:
    """The claims in three tables, those that are empty left out.

    Attributes
    ----------
    decided
        By training, at full or at reduced scale.
    open
        By training, and not yet.
    arithmetic
        Without training.
    """

    decided: TableView
    open: TableView
    arithmetic: TableView


@dataclass(frozen=True)
class Count:
    """How many claims have a verdict."""

    number: int
    text: str
    look: str


def table_view(frame: pd.DataFrame) -> TableView:
    """A frame as `analysis.tables` writes it, a number with its uncertainty in one cell.

    A cell is sorted by its number, with all digits.
    """
    plain = one_heading(frame)
    shown = joined(plain)
    headings, columns = [], []
    for name in shown.columns:
        values = plain[name.removesuffix(INTERVAL).removesuffix(DEVIATION)]
        is_number = is_numeric_dtype(values) and not is_bool_dtype(values)
        headings.append(Heading(name, is_number))
        pairs = zip(shown[name].tolist(), values.tolist(), strict=True)
        columns.append([_cell(text, value, is_number=is_number) for text, value in pairs])
    return TableView(headings, list(zip(*columns, strict=True)))


def claims_view(claims: pd.DataFrame) -> ClaimsView:
    """The claims, our values with their intervals; in a table reproduced ones come first."""
    arithmetic = is_arithmetic(claims)
    decided = (claims["verdict"] != "undetermined") | claims["reduced"].isin(["holds", "reversed"])
    parts = (decided & ~arithmetic, ~decided & ~arithmetic, arithmetic)
    return ClaimsView(*(_claims_table(claims[part]) for part in parts))


def _claims_table(claims: pd.DataFrame) -> TableView:
    rows = []
    order = claims["verdict"].map(list(MARKS).index).sort_values(kind="stable").index
    for row in claims.loc[order].to_dict("records"):
        verdict, reduced = str(row["verdict"]), str(row["reduced"])
        ours = with_interval(row["ours"], row["low"], row["high"], row["unit"], n=row["n"])
        cells = {name: _cell(str(row[name]), row[name]) for name in CLAIM_COLUMNS} | {
            "verdict": Cell(marked(verdict), verdict, verdict),
            "reduced": Cell(reduced_marked(reduced), reduced, reduced or "word"),
            "paper": Cell(row["paper"], row["paper"], "number short"),
            "ours": Cell(ours, key(row["ours"]), "number"),
            "n": _cell(str(row["n"]), row["n"], is_number=True),
            "reduced_ours": Cell(reduced_ours(row), key(row["reduced_ours"]), "number"),
            "reduced_n": _cell(str(row["reduced_n"]), row["reduced_n"], is_number=True),
        }
        rows.append([cells[name] for name in CLAIM_COLUMNS])
    headings = [Heading(title, name in CLAIM_NUMBERS) for name, title in CLAIM_COLUMNS.items()]
    return TableView(headings, rows)


def count_views(claims: pd.DataFrame) -> list[tuple[str, list[Count]]]:
    """How many claims have which verdict, by kind of evidence; those that none has as 0."""
    if claims.empty:
        return []
    arithmetic = is_arithmetic(claims)
    reduced = judged_reduced(claims)["reduced"]
    return [
        ("Trained", _counts(claims.loc[~arithmetic, "verdict"], MARKS)),
        ("At reduced scale, where no number is judged", _counts(reduced, REDUCED_MARKS)),
        ("Arithmetic", _counts(claims.loc[arithmetic, "verdict"], MARKS)),
    ]


def _counts(verdicts: pd.Series[str], marks: Mapping[str, str]) -> list[Count]:
    counts = verdicts.value_counts()
    return [Count(int(counts.get(word, 0)), f"{mark} {word}", word) for word, mark in marks.items()]


def key(value: Any) -> str:
    """What a value is sorted by, which a browser reads as a number where it is one."""
    if pd.isna(value):
        return ""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(float(value)) if isinstance(value, int | float) else str(value)


def _cell(text: str, value: Any, *, is_number: bool = False) -> Cell:
    words = "prose" if len(text) > PROSE else "word"
    return Cell(text, key(value), "number" if is_number else words)
