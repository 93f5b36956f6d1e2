"""Ctrl-C, SIGTERM and a terminal that closes: how a command is asked to stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

HANGUP = tuple(filter(None, [getattr(signal, "SIGHUP", None)]))  # Windows has none
STOPPING = (signal.SIGINT, signal.SIGTERM, *HANGUP)


class StopRequest:
    """Ctrl-C, SIGTERM and a terminal that closes as a request, which training asks for.

    While entered, the first signal is noted; a second Ctrl-C or SIGTERM interrupts at once. What is
    ignored, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Whether someone has asked to stop."""
        return self._event.is_set()

    def __enter__(self) -> Self:
        for number in STOPPING:
            if number in HANGUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set() and number not in HANGUP:  # which kernel and shell may both send
            raise KeyboardInterrupt
        self._event.set()
