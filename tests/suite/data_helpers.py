"""How the tests of data sets look at an error."""

from __future__ import annotations

from suite.data.splits import DataError


def assert_one_line(error: DataError, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    assert ", got " in message
    assert "; " in message
    for part in parts:
        assert part in message
