"""Standard streams whose reader goes away, or whose disk is full."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.basics.streams import STANDARD, LastingStream, outlast_readers

PROGRAM = """
import sys
from pathlib import Path
if {before}:
    print("before")
from suite.basics.streams import outlast_readers
outlast_readers()
outlast_readers()
for number in range({lines}):
    print(f"σw = {{number}}")
    print("progress", file=sys.stderr, flush=True)
print("after", flush=True)
Path({done!r}).touch()
"""


def program(tmp_path: Path, lines: int, *, before: bool = False) -> list[str]:
    """A command that prints, and that touches a file at its end."""
    text = PROGRAM.format(lines=lines, before=before, done=str(tmp_path / "done"))
    return [sys.executable, "-c", text]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_seen_enough_does_not_end_a_command(tmp_path: Path, stream: str) -> None:
    reading, writing = os.pipe()
    kept = tmp_path / "other"
    with kept.open("wb") as other:
        streams = {"stdout": other, "stderr": other, stream: writing}
        command = subprocess.Popen(program(tmp_path, 20_000), **streams)
        os.close(writing)
        assert os.read(reading, 6) == ("σw = " if stream == "stdout" else "progre").encode()
        os.close(reading)
        assert command.wait(60) == 0
    assert (tmp_path / "done").exists()
    seen = kept.read_text(encoding="utf-8").splitlines()
    if stream == "stdout":
        assert seen == ["progress"] * 20_000
    else:
        assert seen == [*(f"σw = {number}" for number in range(20_000)), "after"]


needs_full_disk = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs a disk that is always full"
)


@needs_full_disk
def test_a_full_disk_under_the_progress_does_not_end_a_command(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = subprocess.run(
            program(tmp_path, 5_000), stdout=subprocess.PIPE, stderr=full, timeout=60, check=True
        )
    assert (tmp_path / "done").exists()
    assert command.stdout.endswith(b"after\n")


@needs_full_disk
def test_what_a_command_was_asked_for_is_not_lost_on_a_full_disk_without_a_word(
    tmp_path: Path,
) -> None:
    with Path("/dev/full").open("wb") as full:
        command = subprocess.run(
            program(tmp_path, 5_000), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert command.returncode != 0
    assert b"No space left on device" in command.stderr


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_what_follows_once_a_pipe_or_a_terminal_is_gone_goes_nowhere(
    tmp_path: Path, number: int
) -> None:
    with (tmp_path / "file").open("wb") as file, LastingStream(file) as stream:
        stream.write("one\n")
        stream.flush()
        stream.go_on(OSError(number, "gone"))
        stream.write("two\n")
        stream.flush()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "one\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_what_follows_once_there_is_room_again_is_written(tmp_path: Path, number: int) -> None:
    with (tmp_path / "file").open("wb") as file, LastingStream(file) as stream:
        stream.droppable = STANDARD["stderr"].droppable
        stream.go_on(OSError(number, "full"))
        stream.write("two\n")
        stream.droppable = STANDARD["stdout"].droppable
        with pytest.raises(OSError, match="full"):
            stream.go_on(OSError(number, "full"))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "two\n"


BACK = """
import logging, sys
handler = logging.StreamHandler()
logging.getLogger("some.where").addHandler(handler)
from suite.basics.streams import outlast_readers
outlast_readers()
assert handler.stream is sys.stderr is not sys.__stderr__
assert sys.stdout.mode == "w"
sys.stdout = sys.__stdout__
print("still there", flush=True)
"""


def test_the_streams_of_before_can_be_put_back_and_loggers_go_along() -> None:
    command = subprocess.run(
        [sys.executable, "-c", BACK], capture_output=True, text=True, check=True
    )
    assert command.stdout == "still there\n"


def test_what_is_written_arrives_in_order_and_in_a_poor_encoding(tmp_path: Path) -> None:
    command = subprocess.run(
        program(tmp_path, 2, before=True),
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert command.stdout.splitlines() == ["before", "?w = 0", "?w = 1", "after"]


def test_other_errors_are_not_swallowed() -> None:
    with LastingStream(io.BytesIO()) as stream, pytest.raises(OSError, match="bad"):
        stream.go_on(OSError(errno.EBADF, "bad"))


def test_what_stands_in_place_of_a_stream_is_left_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = io.StringIO()  # a notebook's
    monkeypatch.setattr(sys, "stdout", cell)
    outlast_readers()
    assert sys.stdout is cell
