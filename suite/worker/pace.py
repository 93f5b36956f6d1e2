"""How often to write checkpoints and to log epochs, so that this takes little of the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Pace:
    """Says when a task is due again, by how long it took the last time.

    Parameters
    ----------
    times
        The pause is so many times as long as the task took: 100 spends 1 % of the time on it.
    shortest, longest
        Bounds on the pause, in seconds.
    """

    times: float
    shortest: float
    longest: float
    _last: float = field(init=False)
    _interval: float = field(init=False)

    def __post_init__(self) -> None:
        self._last, self._interval = time.monotonic(), self.shortest

    def due(self) -> bool:
        """Whether the pause is over."""
        return time.monotonic() - self._last >= self._interval

    def done(self, cost: float) -> None:
        """Begin a pause: the task was done just now, and took `cost` seconds."""
        self._last = time.monotonic()
        self._interval = min(max(self.shortest, self.times * cost), self.longest)


def checkpoint_pace() -> Pace:
    """For checkpoints: 1 % of the training time; a crash costs ten minutes of it at most."""
    return Pace(times=100.0, shortest=1.0, longest=600.0)


def logging_pace() -> Pace:
    """For logging to MLflow: 2 % of the training time; MLflow is half a minute behind at most."""
    return Pace(times=50.0, shortest=1.0, longest=30.0)
