"""Locks of one machine: who waits says for whom, and does not wait for ever."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from suite.basics.locks import locked

HOLDER = """
import sys, time
from pathlib import Path
from suite.basics.locks import locked
with locked(Path(sys.argv[1]), "holds it in a test"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_wait_ends_with_a_line_that_says_who_holds_what(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "study.lock"
    lines: list[str] = []
    with locked(lock, "writes the study"):
        with (
            pytest.raises(TimeoutError) as failure,
            locked(lock, "waits", seconds=0.2, line_after=0.0, say=lines.append),
        ):
            pass
        who = f"process {os.getpid()} on {socket.gethostname()}, which writes the study"
        assert lines == [f"{lock}: waits for {who}; gives up after 0 s"]
        assert str(failure.value).startswith(f"{lock}: held for 0 s by {who}; let it go on")
    with locked(lock, "is free again", seconds=0.0):
        pass
    assert [path.name for path in lock.parent.iterdir()] == ["study.lock"]


def test_a_holder_that_leaves_no_word_is_another_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "study.lock"
    held = FileLock(lock)
    held.acquire()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            held.release()

    with locked(lock, "waits", line_after=0.0, between_looks=look):
        pass
    assert capsys.readouterr().err == f"{lock}: waits for another process; gives up after 120 s\n"


def test_a_lock_ends_with_its_holder_however_it_dies(tmp_path: Path) -> None:
    lock = tmp_path / "study.lock"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", HOLDER, str(lock)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert holder.stdout is not None
    holder.stdout.readline()
    with (
        pytest.raises(TimeoutError, match=f"process {holder.pid} on .*, which holds it in a test"),
        locked(lock, "waits", seconds=0.0),
    ):
        pass
    holder.kill()
    holder.communicate()
    with locked(lock, "is free again", seconds=0.0):
        pass
