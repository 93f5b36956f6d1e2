"""A thread that writes to MLflow, so that training does not wait for it.

Tasks are done in order. While the tracking server is away they wait and are tried again; what is
still undone at the end is on disk already, and the next start uploads it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

Task = Callable[[], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between two tries
LAST_WRITE_WAIT = 2.0  # seconds
LASTING_ERRORS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED"}


class WriteError(RuntimeError):
    """MLflow refused a write for a reason that waiting does not mend."""


class Writer:
    """Does MLflow writes one after another in a thread of its own.

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
        self._busy = 0.0
        self._thread = threading.Thread(target=self._run, name="mlflow-writer", daemon=True)
        self._thread.start()

    @property
    def busy_seconds(self) -> float:
        """Time spent in writes so far."""
        return self._busy

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
            raise WriteError(f"mlflow: {_first_line(self._failure)}") from self._failure

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
            start = time.monotonic()
            try:
                task()
            except Exception as error:
                if not passing(error):
                    with self._change:
                        self._failure = error
                        self._change.notify_all()
                    return False
                if pause == FIRST_PAUSE:
                    self._notify(f"MLflow is away ({_first_line(error)}); training goes on")
            else:
                if pause > FIRST_PAUSE:
                    self._notify("MLflow is back; catching up")
                return True
            finally:
                self._busy += time.monotonic() - start
            with self._change:
                if self._change.wait_for(lambda: self._closing, pause):
                    return False
            pause = min(2 * pause, LONGEST_PAUSE)


def passing(error: Exception) -> bool:
    """Whether trying again may help: a server that is away, a store that is locked."""
    if isinstance(error, MlflowException):
        return error.error_code not in LASTING_ERRORS
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
