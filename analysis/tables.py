"""Frames as text: Markdown, LaTeX with booktabs, CSV, and columns for a terminal.

A column's uncertainty stands in columns beside it, named after it: 'spread (pp) low' and
'spread (pp) high' are the ends of an interval, and 'σw=0.1 (%) sd' is a standard deviation. In
Markdown and LaTeX such columns become one, written '26.5 [25.1, 27.9]' or '85.0 ± 0.3'. In CSV they
stay numbers in columns of their own, and the written form follows behind them.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.units import number

ABSENT, NEVER = "–", "∞"
INTERVAL = " [95 %]"
DEVIATION = " ± sd"
UNIT = re.compile(r"\((pp|%|epochs)\)")
PLACES = 4  # significant digits of what has no unit
ROUGH = ("p value", 2)  # how a column ends, and digits of what is known to no more
UNBROKEN = 10_000  # columns: more than any line has
# What pandas leaves as it is when it escapes text for LaTeX, whose own fonts lack these signs; with
# the underscores of our names already escaped. In this order: names before the signs they hold.
LATEX = {
    "σw": r"$\sigma_w$",
    "σb": r"$\sigma_b$",
    r"τ\_best": r"$\tau_{\mathrm{best}}$",
    r"τ\_interp": r"$\tau_{\mathrm{interp}}$",
    r"T\_SGD": r"$T_{\mathrm{SGD}}$",
    r"T\_L2": r"$T_{L_2}$",
    r"T\_adapt": r"$T_{\mathrm{adapt}}$",
    "|": r"\textbar{}",
    **{
        sign: f"${name}$"
        for sign, name in {
            "α": r"\alpha",
            "β": r"\beta",
            "η": r"\eta",
            "λ": r"\lambda",
            "μ": r"\mu",
            "σ": r"\sigma",
            "τ": r"\tau",
            "Δ": r"\Delta",
            "Σ": r"\Sigma",
            "±": r"\pm",
            "×": r"\times",
            "≥": r"\geq",
            "≤": r"\leq",
            "∞": r"\infty",
            "→": r"\to",
            "−": "-",
            "²": "^2",
            "√": r"\surd",
            "‖": r"\Vert ",
        }.items()
    },
    "–": "--",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "\N{NO-BREAK SPACE}": "~",
}


def aligned(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Text in columns for a terminal or a file: the first and the last to the left, others right.

    Returns
    -------
    list of str
        One line for the headings and one for each row, as wide as the text needs, in plain text.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    for place, heading in enumerate(headings):
        edge = place in (0, len(headings) - 1)
        # As Text, or '[95 %]' would be taken for markup.
        table.add_column(Text(heading), justify="left" if edge else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    written = io.StringIO()
    Console(file=written, width=UNBROKEN, color_system=None, force_terminal=False).print(table)
    return [line.rstrip() for line in written.getvalue().splitlines()]


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a table of Markdown, numbers to the right."""
    shown = joined(frame)
    right = _numeric(frame, shown)
    names = [_pipe(name) for name in shown.columns]
    lines = [names, ["--:" if number_ else ":--" for number_ in right]]
    lines += [[_pipe(text) for text in row] for row in shown.itertuples(index=False, name=None)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(frame: pd.DataFrame, *, caption: str, label: str) -> str:
    """The frame as a floating table of LaTeX, which needs the package booktabs.

    Parameters
    ----------
    caption
        Plain text.
    label
        What it is referred to by, behind 'tab:'.
    """
    shown = joined(frame)
    layout = "".join("r" if number_ else "l" for number_ in _numeric(frame, shown))
    return str(
        _latex_style(shown).to_latex(
            hrules=True,
            column_format=layout,
            caption=escape(caption),
            label=f"tab:{label}",
            position_float="centering",
        )
    )


def csv(frame: pd.DataFrame) -> str:
    """The frame as CSV: all numbers in full, and written with their uncertainty behind them."""
    plain = one_heading(frame)
    beside = {name: _companions(plain, name) for name in map(str, plain)}
    of = {companions[-1]: name for name, companions in beside.items() if companions}
    columns: dict[str, pd.Series | list[str]] = {}
    for name in map(str, plain):
        columns[name] = plain[name]
        if name in of:
            columns.update(_joined(plain, of[name], beside[of[name]]))
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")


def joined(frame: pd.DataFrame) -> pd.DataFrame:
    """Every cell as it is written, with the uncertainty of a number beside it.

    Returns
    -------
    DataFrame
        Of text: fewer columns than `frame` has where it gives uncertainty.
    """
    plain = one_heading(frame)
    beside = {name: _companions(plain, name) for name in map(str, plain)}
    taken = {part for companions in beside.values() for part in companions}
    columns: dict[str, list[str]] = {}
    for name, companions in beside.items():
        if name not in taken:
            columns.update(_joined(plain, name, companions))
    return pd.DataFrame(columns, index=plain.index)


def _joined(plain: pd.DataFrame, name: str, companions: list[str]) -> dict[str, list[str]]:
    """A column as it is written with the columns of its uncertainty, by its heading."""
    heading = name + {0: "", 1: DEVIATION, 2: INTERVAL}[len(companions)]
    values = plain[[name, *companions]].itertuples(index=False, name=None)
    return {heading: [_written(list(row), name) for row in values]}


def escape(text: str) -> str:
    """Plain text as LaTeX, Greek letters as mathematics: as `latex` writes the cells of a table."""
    _, row, *_ = _latex_style(pd.DataFrame([text])).hide(axis="columns").to_latex().splitlines()
    return str(row).removesuffix(r" \\")


def _latex_style(shown: pd.DataFrame) -> Styler:
    """A frame of text whose cells and headings pandas escapes, before ours become mathematics."""
    shown = shown.set_axis(shown.columns.map(str), axis="columns")
    styled = shown.style.hide(axis="index").format(_with_symbols, escape="latex")
    return styled.format_index(_with_symbols, escape="latex", axis="columns")


def _with_symbols(escaped: object) -> str:
    text = str(escaped)
    for sign, written in LATEX.items():
        text = text.replace(sign, written)
    return text


def one_heading(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with one row of headings, and an index that has a name as columns."""
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    words = [name if isinstance(name, tuple) else (name,) for name in frame.columns]
    names = [" ".join(str(word) for word in one if str(word)) for one in words]
    return frame.set_axis(names, axis=1)


def _companions(frame: pd.DataFrame, name: str) -> list[str]:
    for endings in ((" low", " high"), (" sd",)):
        found = [name + ending for ending in endings]
        if all(one in frame.columns for one in found):
            return found
    return []


def _written(values: list[Any], name: str) -> str:
    value, *beside = (_text(value, name) for value in values)
    if value == ABSENT or not beside or ABSENT in beside or set(beside) == {NEVER}:
        return value
    return f"{value} ± {beside[0]}" if len(beside) == 1 else f"{value} [{', '.join(beside)}]"


def _text(value: Any, name: str) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ABSENT
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    unit = UNIT.search(name)
    if unit or not math.isfinite(value):
        return number(value, unit[1] if unit else "")
    ends, digits = ROUGH
    return f"{value + 0.0:.{digits if name.endswith(ends) else PLACES}g}"


def _numeric(frame: pd.DataFrame, shown: pd.DataFrame) -> Sequence[bool]:
    """Which columns of the text hold numbers."""
    plain = one_heading(frame)
    kinds = plain.dtypes.map(lambda kind: kind.kind in "iuf").to_dict()
    return [
        kinds.get(name, kinds.get(name.removesuffix(INTERVAL).removesuffix(DEVIATION), False))
        for name in shown.columns
    ]


def _pipe(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
