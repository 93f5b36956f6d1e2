"""Ctrl-C and SIGTERM: how a command is asked to stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Ctrl-C and SIGTERM as a request, which training asks for where stopping is safe.

    While entered, the first signal is noted; a second one interrupts at once.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Whether someone has asked to stop."""
        return self._event.is_set()

    def __enter__(self) -> Self:
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()
