"""The verdicts as a terminal shows them, and as Markdown."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import tables
from analysis.claims.frame import Verdicts, is_arithmetic
from analysis.claims.numbers import NUMBER_ALONE
from analysis.claims.reduced import NOT_TRAINED
from analysis.claims.rule import WRONG_AT_A_BORDER
from analysis.units import SPOKEN, with_interval

WIDTH = 120
INDENT = "  "
UNBREAKABLE = "\N{NO-BREAK SPACE}"
REDUCED = "↓"  # a mark alone, as lines are full
HEADINGS = ("claim", "paper", "ours [95 %]", "n", "verdict", REDUCED)
MARKS = {"reproduced": "✓", "contradicted": "✗", "undetermined": "?"}
REDUCED_MARKS = {"holds": "▲", "reversed": "▼", "open": "?"}
COLUMN_NAMES = {
    "claim": "Claim",
    "place": "Place",
    "statement": "Statement",
    "paper": "Paper",
    "ours": "Ours [95 %]",
    "n": "Seeds",
    "verdict": "Verdict",
    "reason": "Reason",
    "reduced": "At reduced scale",
    "reduced_ours": "There [95 %]",
    "reduced_n": "Seeds there",
    "reduced_on": "On",
    "reduced_reason": "Reason there",
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
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for row, line in zip(rows, lines, strict=True):
        groups.setdefault(row["place"], []).append((line, _reasons(row)))
    shown = [heading]
    for place, group in groups.items():
        shown += ["", place]
        for reasons, same in itertools.groupby(group, key=lambda one: one[1]):
            shown += [line for line, _ in same]
            shown += [line for reason in reasons for line in _wrapped(reason)]
    return "\n".join(shown)


def totals(claims: pd.DataFrame) -> str:
    """How many have which verdict: by training, by arithmetic, at reduced scale, and by chance."""
    arithmetic = is_arithmetic(claims)
    lines = [
        _total("claims on training, at full scale", claims.loc[~arithmetic, "verdict"], MARKS),
        _total("claims of arithmetic", claims.loc[arithmetic, "verdict"], MARKS),
        _total("claims at reduced scale", judged_reduced(claims)["reduced"], REDUCED_MARKS),
    ]
    return "\n".join(lines + _wrong_by_chance(claims))


def _wrong_by_chance(claims: pd.DataFrame) -> list[str]:
    """A line on how many verdicts chance alone may have turned wrong, where there are any."""
    trained = claims.loc[~is_arithmetic(claims)]
    made = int(trained["verdict"].isin(["reproduced", "contradicted"]).sum())
    made += int(trained["reduced"].isin(["holds", "reversed"]).sum())
    expected = f"{made * WRONG_AT_A_BORDER:.2g}"
    says = "are to be expected wrong by chance if every truth is at the border of its range"
    return [f"of {made} verdicts on training {expected} {says}, fewer elsewhere"] if made else []


def _total(what: str, verdicts: pd.Series[str], kinds: Mapping[str, str]) -> str:
    counts = verdicts.value_counts()
    words = [f"{int(counts.get(verdict, 0))} {verdict}" for verdict in kinds]
    return f"{len(verdicts)} {what}: {', '.join(words)}"


def judged_reduced(claims: pd.DataFrame) -> pd.DataFrame:
    """The claims that have a verdict at reduced scale."""
    return claims[claims["reduced"] != ""]


def reduced_settings(found: Sequence[Verdicts]) -> list[str]:
    """In what the runs at reduced scale differ from the paper's, a line for each experiment."""
    there = [one.reduced for one in found if one.reduced.n]
    settings = {name: text for one in there for name, text in one.settings.items() if text}
    return [f"{REDUCED} {name}: {text}" for name, text in settings.items()]


def legend() -> str:
    """What stands in the columns, in two lines."""
    marks = ", ".join(f"{mark} {verdict}" for verdict, mark in REDUCED_MARKS.items())
    return (
        "ours: of several parts the one that decides; of an order the difference that does\n"
        f"{REDUCED} at reduced scale: {marks}; {NUMBER_ALONE}"
    )


def markdown(claims: pd.DataFrame) -> str:
    """One table with a row for each claim."""
    rows = [
        {
            **row,
            "paper": _paper(row),
            "ours": _ours(row),
            "n": _seeds(row["n"]),
            "reduced": row["reduced"] or tables.ABSENT,
            "reduced_ours": reduced_ours(row),
            "reduced_n": _seeds(row["reduced_n"]),
        }
        for row in claims.to_dict("records")
    ]
    shown = pd.DataFrame(rows)[list(COLUMN_NAMES)].rename(columns=COLUMN_NAMES)
    lines = "".join(f"- {line}\n" for line in totals(claims).splitlines())
    return f"{tables.markdown(shown)}\n{lines}"


def marked(verdict: str) -> str:
    """The verdict at full scale behind its mark, so that it does not hang on a colour."""
    return f"{MARKS[verdict]} {verdict}"


def reduced_marked(verdict: str) -> str:
    """The verdict at reduced scale behind its mark; a dash where there is none."""
    return f"{REDUCED_MARKS[verdict]} {verdict}" if verdict else tables.ABSENT


def reduced_ours(row: Row) -> str:
    """Our value at reduced scale with its interval."""
    ends = row["reduced_low"], row["reduced_high"]
    return with_interval(row["reduced_ours"], *ends, row["unit"], n=row["reduced_n"])


def _cells(row: Row) -> tuple[str, ...]:
    reduced = REDUCED_MARKS.get(row["reduced"], tables.ABSENT)
    verdict = marked(row["verdict"])
    return row["statement"], _paper(row), _ours(row), _seeds(row["n"]), verdict, reduced


def _reasons(row: Row) -> list[str]:
    """Why the verdicts are these; a word that all numbers share is said once, at the end."""
    reasons = [row["reason"]]
    if row["reduced_n"]:
        value = f"{reduced_ours(row)} {row['unit']}" if row["unit"] in SPOKEN else reduced_ours(row)
        judged = f"{row['reduced']}, {value}, {row['reduced_n']} seeds"
        reasons.append(f"{REDUCED} {judged}; {row['reduced_reason']}; {row['reduced_on']}")
    elif row["reduced_reason"] not in ("", NUMBER_ALONE, NOT_TRAINED):
        verdict = row["reduced"] or "not judged"
        reasons.append(f"{REDUCED} {verdict}: {row['reduced_reason']}")
    return reasons


def _paper(row: Row) -> str:
    paper = str(row["paper"])
    return f"{paper} {row['unit']}" if NUMBER.fullmatch(paper) and row["unit"] in SPOKEN else paper


def _ours(row: Row) -> str:
    return with_interval(row["ours"], row["low"], row["high"], row["unit"], n=row["n"])


def _seeds(n: int) -> str:
    return str(n) if n else tables.ABSENT


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
