"""An error in one line, whatever it says, with the remedy that helps."""

from __future__ import annotations

import errno

import pytest

from suite.basics.errors import LONGEST_VALUE, first_line, remedy_for, shortened


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


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RuntimeError('I/O error: Too many open files (os error 24) at path "x"'), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (RuntimeError("No space left on device (os error 28)"), "free some space"),
        (ValueError("24"), "free some space"),
    ],
)
def test_a_lack_of_file_descriptors_is_not_blamed_on_the_disk(
    error: Exception, blamed: str
) -> None:
    assert blamed in remedy_for(error, "free some space")
