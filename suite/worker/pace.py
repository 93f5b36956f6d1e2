"""When something costly is due again: often enough to lose little, seldom enough to cost little."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Pace:
    """When a thing is due again: its cost stays a small part of the time.

    Parameters
    ----------
    times
        It is due once so many times its last cost has passed.
    shortest, longest
        Seconds after the last time: not sooner, and not later, whatever it cost.
    """

    times: float
    shortest: float
    longest: float
    _last: float = field(init=False)
    _interval: float = field(init=False)

    def __post_init__(self) -> None:
        self._last, self._interval = time.monotonic(), self.shortest

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._last >= self._interval

    def done(self, cost: float) -> None:
        """It was done just now, and one costs `cost` seconds."""
        self._last = time.monotonic()
        self._interval = min(max(self.shortest, self.times * cost), self.longest)


def checkpoint_pace() -> Pace:
    """Of checkpoints: 1 % of the time that trains, and at most ten minutes lost in a crash."""
    return Pace(times=100.0, shortest=1.0, longest=600.0)


def logging_pace() -> Pace:
    """Of epochs to MLflow: 2 % of the time at most, and half a minute behind at most."""
    return Pace(times=50.0, shortest=1.0, longest=30.0)
