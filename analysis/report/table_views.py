"""Frames as the report's tables: what each cell says, how it looks, and what it is sorted by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from analysis.claims.text import MARKS
from analysis.tables import DEVIATION, INTERVAL, joined, one_heading
from analysis.units import with_interval

PROSE = 32  # characters from which a text may break into lines
CLAIM_COLUMNS = {
    "verdict": "Verdict",
    "statement": "Statement",
    "paper": "Paper",
    "ours": "Ours [95 %]",
    "unit": "Unit",
    "n": "Seeds",
    "reason": "Reason",
    "experiment": "Experiment",
    "place": "Place",
}
CLAIM_NUMBERS = ("paper", "ours", "n")


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


def claims_view(claims: pd.DataFrame) -> TableView:
    """The claims, the undetermined ones last, our value with its interval."""
    rows = []
    order = claims["verdict"].map(list(MARKS).index).sort_values(kind="stable").index
    for row in claims.loc[order].to_dict("records"):
        verdict = str(row["verdict"])
        ours = with_interval(row["ours"], row["low"], row["high"], row["unit"], n=row["n"])
        cells = {name: _cell(str(row[name]), row[name]) for name in CLAIM_COLUMNS} | {
            "verdict": Cell(_marked(verdict), verdict, verdict),
            "paper": Cell(row["paper"], row["paper"], "number short"),
            "ours": Cell(ours, key(row["ours"]), "number"),
            "n": _cell(str(row["n"]), row["n"], is_number=True),
        }
        rows.append([cells[name] for name in CLAIM_COLUMNS])
    headings = [Heading(title, name in CLAIM_NUMBERS) for name, title in CLAIM_COLUMNS.items()]
    return TableView(headings, rows)


def count_views(claims: pd.DataFrame) -> list[Count]:
    """How many claims have which verdict; those that none has are counted as 0."""
    if claims.empty:
        return []
    counts = claims["verdict"].value_counts()
    return [Count(int(counts.get(word, 0)), _marked(word), word) for word in MARKS]


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


def _marked(verdict: str) -> str:
    """The verdict behind its mark, so that it does not hang on a colour."""
    return f"{MARKS[verdict]} {verdict}"
