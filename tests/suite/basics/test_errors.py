"""An error in one line, whatever it says."""

from __future__ import annotations

import pytest

from suite.basics.errors import LONGEST_VALUE, first_line, shortened


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no route", "no route"),
        ("\n  no route\nto host", "no route"),
        ("no route\r\nto host", "no route"),
        ("", "OSError"),
        (" \n ", "OSError"),
    ],
)
def test_the_first_line_that_says_something(text: str, line: str) -> None:
    assert first_line(OSError(text)) == line


def test_only_a_long_value_is_shortened() -> None:
    assert shortened("x" * LONGEST_VALUE) == "x" * LONGEST_VALUE
    assert shortened("x" * (LONGEST_VALUE + 1)) == "x" * (LONGEST_VALUE - 1) + "…"
