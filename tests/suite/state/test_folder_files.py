"""State in a folder: whole or not at all, read where it lies, and one line for what fails."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from suite.declarations.config import parse
from suite.declarations.metrics import EpochRecord
from suite.engine import tensor_file
from suite.engine.checkpoint import CheckpointError, RunState
from suite.state.files import FolderFiles

NAME = "0123456789abcdef/checkpoint.safetensors"


def some_state(seed: int) -> RunState:
    tensors = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return RunState(
        config=parse({"seed": seed}),
        tensors={"parameters": {"turned": tensors.T}},
        history=[EpochRecord(1, 1_764_000_000_123, 2.3, 0.1, 1 / 3, 0.2, 5e-324, 1e-3)],
        kernel_norm_initial=0.1 + 0.2,
    )


def assert_same_state(ours: RunState | None, theirs: RunState) -> None:
    assert ours is not None
    assert (ours.config, ours.history) == (theirs.config, theirs.history)
    assert ours.kernel_norm_initial == theirs.kernel_norm_initial
    assert ours.tensors.keys() == theirs.tensors.keys() == {"parameters"}
    assert torch.equal(ours.tensors["parameters"]["turned"], theirs.tensors["parameters"]["turned"])


@pytest.fixture
def files(tmp_path: Path) -> FolderFiles:
    return FolderFiles(tmp_path / "state")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / NAME


def test_a_state_is_one_file_in_folders_made_for_it(files: FolderFiles, path: Path) -> None:
    assert files.load(NAME) is None
    files.save(NAME, some_state(0))
    assert_same_state(files.load(NAME), some_state(0))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_later_state_replaces_the_earlier(files: FolderFiles) -> None:
    files.save(NAME, some_state(0))
    earlier = files.load(NAME)
    files.save(NAME, some_state(1))
    assert_same_state(files.load(NAME), some_state(1))
    assert_same_state(earlier, some_state(0))  # not a window onto the file that was replaced


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), None])
def test_a_write_that_fails_leaves_the_old_state_and_no_litter(
    files: FolderFiles,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: OSError | None,
) -> None:
    files.save(NAME, some_state(0))

    def breaks(tensors: Any, file: Path, metadata: Any) -> None:
        Path(file).write_bytes(b"half of it")
        if failure:
            raise failure
        save_file({"x": torch.zeros(1)}, tmp_path)  # what safetensors itself raises

    monkeypatch.setattr(tensor_file, "save_file", breaks)
    with pytest.raises(CheckpointError) as error:
        files.save(NAME, some_state(1))
    assert len(error.value.args[0].splitlines()) == 1
    assert str(error.value).startswith(f"checkpoint: {path} cannot be written (")
    assert str(error.value).endswith("; free some space or choose another --state-dir")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert_same_state(files.load(NAME), some_state(0))


def test_an_end_of_the_process_during_the_write_leaves_the_old_state(
    files: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save(NAME, some_state(0))

    def dies(tensors: Any, file: Path, metadata: Any) -> None:
        Path(file).write_bytes(b"half of it")
        raise SystemExit

    monkeypatch.setattr(tensor_file, "save_file", dies)
    with pytest.raises(SystemExit):
        files.save(NAME, some_state(1))
    assert_same_state(files.load(NAME), some_state(0))


DYING = """
import os, signal, sys
from pathlib import Path
from suite.state.files import FolderFiles
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
FolderFiles(Path(sys.argv[1])).write(sys.argv[2], "{}")
"""


def test_what_a_killed_process_left_goes_with_the_runs_folder(
    files: FolderFiles, path: Path
) -> None:
    files.save(NAME, some_state(0))
    command = [sys.executable, "-c", DYING, str(path.parent.parent), NAME]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(list(path.parent.iterdir())) == 2
    assert_same_state(files.load(NAME), some_state(0))
    files.remove(path.parent.name, [path.name])
    assert not path.parent.exists()


@pytest.mark.parametrize("kind", ["checkpoint", "state_dir"])
def test_a_folder_that_cannot_be_made_is_answered_in_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "state").write_text("in the way")
    files = FolderFiles(tmp_path / "state")
    with pytest.raises(CheckpointError) as error:
        files.save(NAME, some_state(0)) if kind == "checkpoint" else files.write(NAME, "text")
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith(f"{kind}: {tmp_path / 'state' / NAME} cannot be written (")
    assert str(error.value).endswith("; free some space or choose another --state-dir")


def test_folders_are_found_by_a_file_in_them_whatever_else_is_there(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path / "a [1]*" / "state")  # no pattern, but a name
    assert files.folders_with("result/result.json") == []
    for run in ("b", "a"):
        files.write(f"{run}/result/result.json", "{}")
    files.write("c/result/other.json", "{}")
    files.write("leases/a", "")
    files.write("uploads.lock", "")
    assert files.folders_with("result/result.json") == ["a", "b"]
    assert [files.exists(f"{run}/result/result.json") for run in "abc"] == [True, True, False]


def test_a_file_in_place_of_the_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    files = FolderFiles(tmp_path / "state")
    assert not files.exists(NAME)
    assert files.load(NAME) is None
    assert files.folders_with("checkpoint.safetensors") == []


def test_files_are_handed_on_where_they_lie(files: FolderFiles, path: Path) -> None:
    files.write(NAME, "σw")
    assert files.read(NAME) == "σw"
    with files.local(path.parent.name, [path.name]) as folder:
        assert folder == path.parent
    assert path.exists()


def test_a_text_that_is_not_there_is_an_error(files: FolderFiles, path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=path.name):
        files.read(NAME)
