"""How an error is told in one line."""

from __future__ import annotations

LONGEST_VALUE = 80  # characters


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def shortened(value: str) -> str:
    """A value as an error shows it: its beginning, if it is so long that it would hide the rest."""
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
