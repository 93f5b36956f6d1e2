"""Files are whole or absent: whatever fails, whoever is killed, and however many write at once."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.basics import files
from suite.basics.files import cache_folder, data_folder, made_once, write_text, written_whole

OLD, NEW = "old" * 1000, "new" * 2000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "kept" / "file.txt"
    write_text(path, OLD)
    return path


def test_a_file_appears_with_the_folders_above_it_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "σ w.txt"
    write_text(path, "σw=1\n")
    write_text(path, "σw=2\n")
    assert path.read_bytes() == "σw=2\n".encode()
    assert names(path.parent) == ["σ w.txt"]


def test_a_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_nothing_is_to_be_seen_until_the_block_ends(target: Path) -> None:
    with written_whole(target) as scratch:
        assert not scratch.exists()
        assert scratch.parent == target.parent  # else renaming could mean copying
        scratch.write_text(NEW)
        assert target.read_text() == OLD
    assert target.read_text() == NEW


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), ValueError(), SystemExit()])
def test_a_block_that_fails_leaves_the_old_file_and_no_other(
    target: Path, failure: BaseException
) -> None:
    def fails_halfway() -> None:
        with written_whole(target) as scratch:
            scratch.write_text("half of it")
            raise failure

    with pytest.raises(type(failure)) as caught:
        fails_halfway()
    assert caught.value is failure
    assert target.read_text() == OLD
    assert names(target.parent) == [target.name]


def test_a_block_that_writes_nothing_leaves_the_old_file(target: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(target):
        pass
    assert target.read_text() == OLD


class Steps:
    """What was flushed and renamed in a folder, in this order; one step may be made to fail."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, str]] = []
        self.fail_at: int | None = None
        fsync, replace = os.fsync, os.replace

        def note(verb: str, name: str) -> None:
            if len(self.done) == self.fail_at:
                raise OSError(errno.EIO, "Input/output error")
            self.done.append((verb, name))

        def noted_fsync(descriptor: int) -> None:
            flushed = os.fstat(descriptor).st_ino
            note("flush", next(p.name for p in folder.rglob("*") if p.stat().st_ino == flushed))
            fsync(descriptor)

        def noted_replace(source: Any, destination: Any) -> None:
            note("rename", Path(source).name)
            replace(source, destination)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "replace", noted_replace)


@pytest.fixture
def steps(target: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(target.parent.parent, monkeypatch)


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_anything_later(
    target: Path, steps: Steps
) -> None:
    with written_whole(target) as scratch:
        scratch.write_text(NEW)
        assert steps.done == []
    assert steps.done == [("flush", scratch.name), ("rename", scratch.name), ("flush", "kept")]


def test_a_folders_files_are_on_the_disk_before_its_name(target: Path, steps: Steps) -> None:
    folder = target.parent / "images"
    for content in ("a", "b"):
        steps.done.clear()
        with written_whole(folder) as scratch:
            (scratch / "train").mkdir(parents=True)
            (scratch / "train" / "cat").write_text(content)
        assert steps.done == [
            ("flush", "cat"),
            ("flush", "train"),
            ("flush", scratch.name),
            ("rename", scratch.name),
            ("flush", "kept"),
        ]
        assert (folder / "train" / "cat").read_text() == content
    assert names(target.parent) == [target.name, "images"]


def test_new_folders_are_on_the_disk_before_what_is_in_them(target: Path, steps: Steps) -> None:
    write_text(target.parent / "a" / "b" / "file", NEW)
    assert steps.done[:2] == [("flush", "kept"), ("flush", "a")]
    assert steps.done[-1] == ("flush", "b")


@pytest.mark.parametrize("step", [0, 1])
def test_a_disk_that_fails_before_the_renaming_leaves_the_old_file(
    target: Path, steps: Steps, step: int
) -> None:
    steps.fail_at = step
    with pytest.raises(OSError, match="Input/output error"):
        write_text(target, NEW)
    assert target.read_text() == OLD
    assert names(target.parent) == [target.name]


def test_a_failure_to_flush_the_renaming_is_told(target: Path, steps: Steps) -> None:
    steps.fail_at = 2
    with pytest.raises(OSError, match="Input/output error"):
        write_text(target, NEW)


def test_a_file_system_that_flushes_no_folders_will_do(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuses_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuses_folders)
    write_text(target, NEW)
    assert target.read_text() == NEW


DYING = """
import os, signal, sys
from pathlib import Path
from suite.basics.files import written_whole
target, deed, after, new = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "after", sys.argv[4]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(function):
    def call(*arguments):
        if after:
            function(*arguments)
        die()
    return call

if deed in ("fsync", "replace"):
    setattr(os, deed, deadly(getattr(os, deed)))
with written_whole(target) as scratch:
    with scratch.open("w") as file:
        file.write(new[: len(new) // 2])
        file.flush()
        if deed == "write":
            die()
        file.write(new[len(new) // 2 :])
"""


@pytest.mark.parametrize(
    ("deed", "when", "left"),
    [
        ("write", "halfway", OLD),
        ("fsync", "before", OLD),
        ("fsync", "after", OLD),
        ("replace", "before", OLD),
        ("replace", "after", NEW),
    ],
)
def test_a_process_that_is_killed_leaves_the_old_file_or_the_new_one(
    target: Path, deed: str, when: str, left: str
) -> None:
    dead = subprocess.run([sys.executable, "-c", DYING, str(target), deed, when, NEW], check=False)
    assert dead.returncode == -signal.SIGKILL
    assert target.read_text() == left
    assert all(name == target.name or name.startswith(".") for name in names(target.parent))
    write_text(target, NEW + NEW)
    assert target.read_text() == NEW + NEW


WRITING = """
import sys
from pathlib import Path
from suite.basics.files import write_text
while not Path(sys.argv[3]).exists():
    write_text(Path(sys.argv[1]), sys.argv[2] * 100_000)
"""


def test_processes_that_write_at_once_never_show_half_a_file_nor_each_others(
    target: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_text(target, "-" * 100_000)
    enough = tmp_path_factory.mktemp("stop") / "enough"
    command = [sys.executable, "-c", WRITING, str(target)]
    writers = [subprocess.Popen([*command, letter, str(enough)]) for letter in "abc"]
    seen: set[str] = set()
    changes = 0
    last = "-"
    try:
        while len(seen) < 3 or changes < 50:  # every writer was seen, and often in turn
            assert all(writer.poll() is None for writer in writers)
            content = target.read_text()
            assert len(content) == 100_000
            assert len(set(content)) == 1
            changes += content[0] != last
            last = content[0]
            seen |= {last} - {"-"}
    finally:
        enough.touch()
        codes = [writer.wait() for writer in writers]
    assert codes == [0, 0, 0]
    assert names(target.parent) == [target.name]


def test_a_file_in_the_way_of_a_folder_is_an_error(target: Path) -> None:
    with pytest.raises(FileExistsError, match=target.name):
        write_text(target / "below", NEW)
    assert target.read_text() == OLD


def test_the_cache_folder_is_the_chosen_one_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "user_cache_path", lambda name, _: tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for chosen, folder in {
        "/scratch/cache": Path("/scratch/cache"),
        "~/cache": tmp_path / "home" / "cache",
        "": tmp_path / "initialization-memory",
    }.items():
        monkeypatch.setenv("SUITE_CACHE_DIR", chosen)
        assert cache_folder() == folder
    monkeypatch.delenv("SUITE_CACHE_DIR")
    assert cache_folder() == tmp_path / "initialization-memory"


def test_the_data_folder_is_the_named_one_then_the_environments_then_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUITE_DATA_DIR", "~/images")
    assert data_folder(Path("~/mine")) == Path.home() / "mine"
    assert data_folder("") == data_folder(None) == Path.home() / "images"
    monkeypatch.setenv("SUITE_DATA_DIR", "")
    assert data_folder() == Path("data")


def test_a_file_that_is_made_once_is_not_to_be_seen_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with made_once(path) as scratch:
        scratch.write_text(NEW)
        assert not path.exists()
    assert path.read_text() == NEW
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("refusal", [None, errno.EPERM])
def test_of_two_that_make_a_file_at_once_the_first_ones_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(refusal, "a file system without second names")

    if refusal is not None:
        monkeypatch.setattr(os, "link", no_links)
    with made_once(tmp_path / "file") as ours, made_once(tmp_path / "file") as theirs:
        ours.write_text(OLD)
        theirs.write_text(NEW)
    assert (tmp_path / "file").read_text() == NEW  # the inner block ended first
    assert names(tmp_path) == ["file"]


def test_a_file_that_could_not_be_made_is_not_there(tmp_path: Path) -> None:
    def fails_halfway() -> None:
        with made_once(tmp_path / "file") as scratch:
            scratch.write_text(NEW)
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        fails_halfway()
    assert names(tmp_path) == []
