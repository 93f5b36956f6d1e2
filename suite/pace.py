"""When a checkpoint is due: often enough to lose little, seldom enough to cost little."""

from __future__ import annotations

import time

# A checkpoint is due once training has taken so many times what the last one cost, and not sooner
# than this many seconds after it.
TRAINING_PER_CHECKPOINT = 30.0
SHORTEST_INTERVAL = 1.0


class Pace:
    """When the next checkpoint is due: its cost stays a small part of the time."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._interval = SHORTEST_INTERVAL

    def due(self) -> bool:
        """Whether enough training has passed since the last one."""
        return time.monotonic() - self._last >= self._interval

    def done(self, cost: float) -> None:
        """A checkpoint was written and took `cost` seconds."""
        self._last = time.monotonic()
        self._interval = max(SHORTEST_INTERVAL, TRAINING_PER_CHECKPOINT * cost)
