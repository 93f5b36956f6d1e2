"""The verdicts as a terminal shows them, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from analysis.units import SPOKEN, with_interval

WIDTH = 120
INDENT = "  "
HEADINGS = ("claim", "paper", "ours [95 %]", "n", "verdict")
MARKS = {"reproduced": "✓", "contradicted": "✗", "undetermined": "?"}
COLUMN_NAMES = {
    "claim": "Claim",
    "place": "Place",
    "statement": "Statement",
    "paper": "Paper",
    "ours": "Ours [95 %]",
    "n": "Seeds",
    "verdict": "Verdict",
    "reason": "Reason",
}

# A number of the paper, behind which its unit is written, and not behind words.
NUMBER = re.compile(r"([≥≤<>≈≫] )?-?[\d.]+( to -?[\d.]+)?")

Row = Mapping[Hashable, Any]


def table(claims: pd.DataFrame) -> str:
    """The claims by the place where the paper makes them, each reason once for all that share it.

    Parameters
    ----------
    claims
        From `claims.judge`.
    """
    rows = claims.to_dict("records")
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADINGS))]
    lines = [_line(HEADINGS, widths)]
    for place, group in _grouped(rows):
        lines += ["", place]
        for at, row in enumerate(group):
            lines.append(_line(_cells(row), widths))
            last = at + 1 == len(group) or group[at + 1]["reason"] != row["reason"]
            if last and row["reason"]:
                lines += _wrapped(row["reason"])
    return "\n".join(lines)


def totals(claims: pd.DataFrame) -> str:
    """How many have which verdict, in one line."""
    counts = claims["verdict"].value_counts()
    words = [f"{int(counts.get(verdict, 0))} {verdict}" for verdict in MARKS]
    return f"{len(claims)} claims: {', '.join(words)}"


def markdown(claims: pd.DataFrame) -> str:
    """One table with a row for each claim."""
    lines = [
        "| " + " | ".join(COLUMN_NAMES.values()) + " |",
        "|" + " --- |" * len(COLUMN_NAMES),
    ]
    for row in claims.to_dict("records"):
        shown = {**row, "paper": _paper(row), "ours": _ours(row), "n": _seeds(row)}
        lines.append("| " + " | ".join(_escaped(shown[name]) for name in COLUMN_NAMES) + " |")
    return "\n".join([*lines, "", totals(claims), ""])


def _grouped(rows: Iterable[Row]) -> Iterable[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["place"], []).append(row)
    return groups.items()


def _cells(row: Row) -> tuple[str, ...]:
    mark = MARKS[row["verdict"]]
    return row["statement"], _paper(row), _ours(row), _seeds(row), f"{mark} {row['verdict']}"


def _paper(row: Row) -> str:
    paper = str(row["paper"])
    return f"{paper} {row['unit']}" if NUMBER.fullmatch(paper) and row["unit"] in SPOKEN else paper


def _ours(row: Row) -> str:
    return with_interval(row["ours"], row["low"], row["high"], row["unit"], n=row["n"])


def _seeds(row: Row) -> str:
    return str(row["n"]) if row["n"] else "–"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    statement, *numbers, verdict = cells
    middle = "  ".join(word.rjust(width) for word, width in zip(numbers, widths[1:-1], strict=True))
    return f"{INDENT}{statement.ljust(widths[0])}  {middle}  {verdict}"


def _wrapped(reason: str) -> list[str]:
    """The reason below its claims, on more lines where it is long; a command is not broken."""
    lines, line = [], INDENT * 2 + "└"
    for word in _words(reason):
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = INDENT * 3
        line += f" {word}"
    return [*lines, line]


def _words(reason: str) -> list[str]:
    words: list[str] = []
    for at, part in enumerate(reason.split("`")):
        words += [f"`{part}`"] if at % 2 else part.split()
    return words


def _escaped(value: object) -> str:
    return str(value).replace("|", "\\|")
