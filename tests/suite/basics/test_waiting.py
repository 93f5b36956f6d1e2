"""What takes long says how far it is; what does not says nothing."""

from __future__ import annotations

import pytest

from suite.basics import waiting
from suite.basics.waiting import with_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return now


def test_lines_begin_after_three_seconds_and_come_every_ten(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    for item in with_progress(range(20), 2000, "counting"):
        seen.append(item)
        clock[0] += 1.0
    assert seen == list(range(20))
    assert capsys.readouterr().err == "counting: 4 of 2,000\ncounting: 15 of 2,000\n"


def test_what_is_quick_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress("abc", 3, "counting")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
