"""How an error is told in one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
