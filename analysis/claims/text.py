"""The verdicts as a terminal shows them, and as Markdown."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from analysis import tables
from analysis.units import SPOKEN, with_interval

WIDTH = 120
INDENT = "  "
UNBREAKABLE = "\N{NO-BREAK SPACE}"
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
    heading, *lines = (INDENT + line for line in tables.aligned(HEADINGS, map(_cells, rows)))
    groups: dict[str, list[tuple[str, str]]] = {}
    for row, line in zip(rows, lines, strict=True):
        groups.setdefault(row["place"], []).append((line, row["reason"]))
    shown = [heading]
    for place, group in groups.items():
        shown += ["", place]
        for reason, same in itertools.groupby(group, key=lambda one: one[1]):
            shown += [line for line, _ in same]
            shown += _wrapped(reason)
    return "\n".join(shown)


def totals(claims: pd.DataFrame) -> str:
    """How many have which verdict, in one line."""
    counts = claims["verdict"].value_counts()
    words = [f"{int(counts.get(verdict, 0))} {verdict}" for verdict in MARKS]
    return f"{len(claims)} claims: {', '.join(words)}"


def markdown(claims: pd.DataFrame) -> str:
    """One table with a row for each claim."""
    rows = [
        {**row, "paper": _paper(row), "ours": _ours(row), "n": _seeds(row)}
        for row in claims.to_dict("records")
    ]
    shown = pd.DataFrame(rows)[list(COLUMN_NAMES)].rename(columns=COLUMN_NAMES)
    return f"{tables.markdown(shown)}\n{totals(claims)}\n"


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


def _wrapped(reason: str) -> list[str]:
    """The reason below its claims, on more lines where it is long; a command is not broken."""
    whole = [
        part.replace(" ", UNBREAKABLE) if at % 2 else part
        for at, part in enumerate(reason.split("`"))
    ]
    lines = textwrap.wrap(
        "`".join(whole),
        WIDTH,
        initial_indent=f"{INDENT * 2}└ ",
        subsequent_indent=f"{INDENT * 3} ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(UNBREAKABLE, " ") for line in lines]
