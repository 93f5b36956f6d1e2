"""When something costly is due again, by a clock that the test moves."""

from __future__ import annotations

import pytest

from suite.worker.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_the_first_is_due_after_the_shortest_time(clock: list[float]) -> None:
    pace = Pace(times=60, shortest=1, longest=600)
    clock[0] += 0.99
    assert not pace.due()
    clock[0] += 0.01
    assert pace.due()


@pytest.mark.parametrize(
    ("cost", "seconds"), [(0.0, 1.0), (0.01, 1.0), (0.5, 30.0), (9.0, 540.0), (20.0, 600.0)]
)
def test_its_cost_stays_a_small_part_of_the_time_within_limits(
    clock: list[float], cost: float, seconds: float
) -> None:
    pace = Pace(times=60, shortest=1, longest=600)
    clock[0] += 7
    pace.done(cost)
    clock[0] += seconds - 0.01
    assert not pace.due()
    clock[0] += 0.02
    assert pace.due()
