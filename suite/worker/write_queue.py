"""Writes to MLflow one after another, in a thread of its own, so that training does not wait.

While the tracking server is away they wait and are tried again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from suite.basics.errors import first_line
from suite.tracking.store import is_transient

Task = Callable[[], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between two tries
LAST_WRITE_WAIT = 2.0  # seconds
LONGEST_REASON = 200  # characters of an error that a line repeats


class WriteError(RuntimeError):
    """MLflow refused a write for a reason that waiting does not mend."""


class WriteQueue:
    """Does one write after another in a thread of its own.

    Parameters
    ----------
    notify
        Called with one line when MLflow cannot be reached, and when it can again.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._tasks: deque[Task] = deque()
        self._change = threading.Condition()
        self._failure: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="mlflow-writer", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Do `task` after those already waiting.

        Raises
        ------
        WriteError
            If an earlier task was refused for good.
        """
        self._raise()
        with self._change:
            self._tasks.append(task)
            self._change.notify_all()

    def drain(self, timeout: float) -> int:
        """Wait until all is written, at most `timeout` seconds; the number of tasks left.

        Raises
        ------
        WriteError
            If a task was refused for good.
        """
        with self._change:
            self._change.wait_for(lambda: not self._tasks or self._failure, timeout)
            left = len(self._tasks)
        self._raise()
        return left

    def close(self) -> None:
        """End the thread; a write under way gets a moment to end."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join(LAST_WRITE_WAIT)

    def _raise(self) -> None:
        if self._failure is not None:
            raise WriteError(f"mlflow: {_short(self._failure)}") from self._failure

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._tasks or self._closing)
                if self._closing:
                    return
                task = self._tasks[0]
            done = self._attempt(task)
            with self._change:
                if not done:
                    return
                self._tasks.popleft()
                self._change.notify_all()

    def _attempt(self, task: Task) -> bool:
        pause = FIRST_PAUSE
        while True:
            try:
                task()
            except Exception as error:
                if not is_transient(error):
                    with self._change:
                        self._failure = error
                        self._change.notify_all()
                    return False
                if pause == FIRST_PAUSE:
                    self._notify(f"MLflow is away ({_short(error)}); training goes on")
            else:
                if pause > FIRST_PAUSE:
                    self._notify("MLflow is back; catching up")
                return True
            with self._change:
                if self._change.wait_for(lambda: self._closing, pause):
                    return False
            pause = min(2 * pause, LONGEST_PAUSE)


def _short(error: Exception) -> str:
    return first_line(error)[:LONGEST_REASON]
