"""Mutual exclusion of the processes of one machine, in which a wait says for whom, and ends.

The lock is the operating system's on a file, so it ends with its holder. But a holder may be
stopped (Ctrl-Z) or hang, and then whoever waits without a word seems to hang, too.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

PATIENCE = 120.0  # seconds that short work of another process is waited for
LONG_PATIENCE = 3600.0  # and work such as fetching or decoding a data set
LINE_AFTER = 1.0  # seconds of waiting, from which on it is worth a line
BETWEEN_LOOKS = 0.1
UNKNOWN = "another process"


@contextmanager
def locked(
    path: Path,
    work: str,
    *,
    seconds: float = PATIENCE,
    line_after: float = LINE_AFTER,
    between_looks: Callable[[], None] = lambda: None,
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Wait until nobody else holds a lock, and keep others from it while the block runs.

    Parameters
    ----------
    path
        The lock's file, which stays; the folders above it are made. Who holds the lock stands in a
        file beside it.
    work
        What is done in the block, for those who wait: "writes the Optuna study".
    seconds
        How long to wait.
    line_after
        From how many seconds of waiting on a line says so.
    between_looks
        Called before each try; may raise what ends the wait.
    say
        Takes a line on who is waited for; None prints it on standard error.

    Raises
    ------
    TimeoutError
        If the lock is not free by then: one line that says who holds it.
    OSError
        If the files cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    note = path.with_name(f"{path.name}.holder")
    _acquire(lock, note, _Wait(seconds, line_after, between_looks, say or _to_standard_error))
    try:
        me = f"process {os.getpid()} on {socket.gethostname()}, which {work}"
        with suppress(OSError):  # a full disk: who waits is told of another process
            note.write_text(me, encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        lock.release()


@contextmanager
def locked_or(
    path: Path, work: str, refused: Callable[[OSError], Exception], **how: Any
) -> Iterator[None]:
    """As :func:`locked`, where that a lock cannot be made has words of its own.

    Parameters
    ----------
    refused
        From what the system answered to the error to raise.
    how
        The other arguments of :func:`locked`.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, work, **how))
        except TimeoutError:  # an OSError, too, which says all itself
            raise
        except OSError as error:
            raise refused(error) from error
        yield


class _Wait(NamedTuple):
    seconds: float
    line_after: float
    between_looks: Callable[[], None]
    say: Callable[[str], None]


def _acquire(lock: FileLock, note: Path, wait: _Wait) -> None:
    began = time.monotonic()
    said = False
    while True:
        wait.between_looks()
        with suppress(Timeout):
            lock.acquire(timeout=0)
            return
        waited = time.monotonic() - began
        if waited > wait.seconds:
            raise TimeoutError(
                f"{lock.lock_file}: held for {wait.seconds:.0f} s by {_holder(note)}; let it go on "
                "(fg, kill -CONT), or end it, and start the command again"
            )
        if waited > wait.line_after and not said:
            said = True
            until = f"gives up after {wait.seconds:.0f} s"
            wait.say(f"{lock.lock_file}: waits for {_holder(note)}; {until}")
        time.sleep(BETWEEN_LOOKS)


def _holder(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8") or UNKNOWN
    except (OSError, ValueError):  # it has just begun or ended, or is of an earlier version
        return UNKNOWN


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
