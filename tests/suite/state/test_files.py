"""State in an object store: the same bits back, whole or not at all, and nothing left over.

fsspec's memory store stands for the object store; like one, it has whole objects and no folders.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import load_file

from suite.basics.settings import ConfigError
from suite.declarations.config import parse
from suite.declarations.metrics import EpochRecord
from suite.engine.checkpoint import CheckpointError, RefusedError, RunState
from suite.engine.runs import TrainedRun
from suite.state.workspace import Workspace

CONFIG = parse({"width": 4, "epochs": 2, "seed": 7})
KEY = CONFIG.fingerprint
STORE = ("created 1", "1")
DATABASE = "postgresql://suite@127.0.0.1:1/never-asked"
HISTORY = [
    EpochRecord(1, 1700000000001, 2.5, 0.1, float("nan"), 0.2, 3.0, 1e-3),
    EpochRecord(2, 1700000000002, 0.1 + 0.2, 1 / 3, float("inf"), 0.3, 3.5, 1e-5),
]


@pytest.fixture
def root() -> Iterator[str]:
    yield "memory://bucket/state"
    MemoryFileSystem.store.clear()


@pytest.fixture
def workspace(root: str) -> Workspace:
    return Workspace(root, STORE, DATABASE)


def objects() -> list[str]:
    return sorted(MemoryFileSystem.store)


def some_state(**changes: Any) -> RunState:
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "parameters": {
            "stem/kernel": torch.randn(3, 2, generator=generator).T,
            "half": torch.tensor([float("nan"), -0.0, 1e-3], dtype=torch.bfloat16),
        },
        "buffers": {"count": torch.tensor(7)},
    }
    return RunState(CONFIG.with_(**changes), tensors, HISTORY, 0.1 + 0.2)


def other_key() -> str:
    return some_state(seed=8).config.fingerprint


def finished_run(**changes: Any) -> TrainedRun:
    fields: dict[str, Any] = {
        "config": CONFIG,
        "history": HISTORY,
        "summary": {"test_accuracy": 1 / 3, "best_epoch": 2},
        "diverged": False,
        "parameters": {"stem/kernel": torch.ones(2, 3)},
        "buffers": {"stem/mean": torch.zeros(2)},
    }
    return TrainedRun(**(fields | changes))


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().view(-1).view(torch.uint8).numpy())


def test_a_state_comes_back_bit_by_bit_on_another_machine(workspace: Workspace, root: str) -> None:
    saved = some_state()
    assert workspace.load(KEY) is None
    workspace.save(saved)
    found = Workspace(root, STORE, DATABASE).load(KEY)
    assert found is not None
    assert (found.config, found.epoch) == (CONFIG, 2)
    assert repr(found.history) == repr(HISTORY)
    assert found.kernel_norm_initial == saved.kernel_norm_initial
    for group, part in saved.tensors.items():
        assert found.tensors[group].keys() == part.keys()
        for name, tensor in part.items():
            assert found.tensors[group][name].dtype == tensor.dtype
            assert found.tensors[group][name].shape == tensor.shape
            assert bits(found.tensors[group][name]) == bits(tensor)


def test_an_object_and_a_folders_file_are_of_one_format(
    workspace: Workspace, tmp_path: Path
) -> None:
    in_folder = Workspace(tmp_path, STORE)
    workspace.save(some_state(seed=8))
    in_folder.save(some_state())
    (file,) = Path(in_folder.folder).glob(f"{KEY}/*")
    (name,) = objects()
    content = fsspec.filesystem("memory").cat_file(name)
    fsspec.filesystem("memory").pipe_file(name.replace(other_key(), KEY), file.read_bytes())
    (file.parent.parent / other_key()).mkdir()
    (file.parent.parent / other_key() / file.name).write_bytes(content)
    for found in (workspace.load(KEY), in_folder.load(other_key())):
        assert found is not None
        assert repr(found.history) == repr(HISTORY)
        assert bits(found.tensors["parameters"]["half"]) == bits(
            some_state().tensors["parameters"]["half"]
        )


def test_a_checkpoint_is_one_put_and_one_that_fails_leaves_the_old(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts: list[str] = []
    original = MemoryFileSystem.pipe_file

    def noted(self: MemoryFileSystem, path: str, value: bytes, **options: Any) -> None:
        puts.append(path)
        original(self, path, value, **options)

    def refused(*_args: Any, **_options: Any) -> None:
        raise PermissionError("Access Denied:\nno such key")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", noted)
    workspace.save(some_state())
    assert puts == objects()
    assert len(puts) == 1
    before = MemoryFileSystem.store[puts[0]].getvalue()
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refused)
    with pytest.raises(CheckpointError, match="Access Denied: no such key") as failure:
        workspace.save(some_state())
    assert "\n" not in str(failure.value)
    assert str(failure.value).startswith("state_dir: memory://bucket/state/experiment-1-")
    assert MemoryFileSystem.store[puts[0]].getvalue() == before


def test_a_store_that_does_not_answer_is_no_fault_of_the_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DriverError(Exception):
        """Drivers raise what they like."""

    def silent(*_args: Any, **_options: Any) -> bytes:
        raise DriverError("no route")

    workspace.save(some_state())
    for method in ("cat_file", "info", "ls", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, method, silent)
    questions = [partial(ask, KEY) for ask in (workspace.load, workspace.has_result)]
    for ask in (*questions, workspace.kept_results, partial(workspace.forget, KEY)):
        with pytest.raises(ConnectionError, match="DriverError: no route") as away:
            ask()
        assert not isinstance(away.value, CheckpointError)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}"])
def test_an_object_that_is_no_checkpoint_is_one_line(workspace: Workspace, content: bytes) -> None:
    workspace.save(some_state())
    (name,) = objects()
    fsspec.filesystem("memory").pipe_file(name, content)
    with pytest.raises(CheckpointError, match="delete it to train from the start") as failure:
        workspace.load(KEY)
    assert "\n" not in str(failure.value)


def test_an_object_set_aside_is_not_found_again_and_goes_with_its_run(workspace: Workspace) -> None:
    workspace.save(some_state())
    (before,) = objects()
    assert workspace.set_aside(KEY, "checkpoint.safetensors") == "checkpoint.safetensors.refused"
    assert objects() == [f"{before}.refused"]
    assert workspace.load(KEY) is None
    workspace.forget(KEY)
    assert objects() == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000])
def test_an_object_that_is_no_result_is_refused_and_the_store_is_not_blamed(
    workspace: Workspace, content: bytes
) -> None:
    workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    (name,) = (name for name in objects() if name.endswith("result.json"))
    workspace.check_result(KEY)
    fsspec.filesystem("memory").pipe_file(name, content)
    with pytest.raises(RefusedError, match="; train its run again") as failure:
        workspace.check_result(KEY)
    assert str(failure.value).startswith("result: memory://bucket/state/experiment-1-")
    assert "\n" not in str(failure.value)


def test_a_result_in_another_runs_folder_is_refused(workspace: Workspace) -> None:
    workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    store = fsspec.filesystem("memory")
    for name in objects():
        store.pipe_file(name.replace(KEY, other_key()), store.cat_file(name))
    with pytest.raises(RefusedError, match=f"config: must be that of run {other_key()}"):
        workspace.result(other_key())


def test_a_result_comes_back_with_its_files_and_none_stays_on_this_machine(
    workspace: Workspace, root: str
) -> None:
    workspace.keep_result(finished_run(), ("zero", "one"), (1, 8, 8))
    there = Workspace(root, STORE, DATABASE)
    assert there.kept_results() == [KEY]
    assert there.has_result(KEY)
    kept = there.result(KEY)
    assert (kept.config, kept.summary, kept.diverged) == (CONFIG, finished_run().summary, False)
    assert repr(kept.history) == repr(HISTORY)
    with there.best(kept) as folder:
        assert folder is not None
        assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
        assert set(load_file(folder / "model.safetensors")) == {
            "parameters/stem/kernel",
            "buffers/stem/mean",
        }
    assert not folder.exists()


def test_a_result_counts_only_when_it_is_complete(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MemoryFileSystem.pipe_file

    def dies(self: MemoryFileSystem, path: str, value: bytes, **options: Any) -> None:
        if path.endswith("result.json"):
            raise OSError("the machine is gone")
        original(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", dies)
    with pytest.raises(CheckpointError, match="the machine is gone"):
        workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    assert len(objects()) == 2
    assert workspace.kept_results() == []
    assert not workspace.has_result(KEY)


def test_a_run_without_best_checkpoint_is_kept_without_one(workspace: Workspace) -> None:
    run = finished_run(parameters=None, buffers=None, diverged=True)
    workspace.keep_result(run, ("zero",), (1, 8, 8))
    with workspace.best(workspace.result(KEY)) as folder:
        assert folder is None


def test_a_runs_objects_are_removed_the_result_last_and_no_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.save(some_state())
    workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    workspace.save(some_state(seed=8))
    removed: list[str] = []
    original = MemoryFileSystem.rm_file

    def noted(self: MemoryFileSystem, path: str) -> None:
        original(self, path)
        removed.append(path.rpartition("/")[2])

    monkeypatch.setattr(MemoryFileSystem, "rm_file", noted)
    workspace.forget(KEY)
    assert len(removed) == 4
    assert removed[-1] == "result.json"
    (left,) = objects()
    assert CONFIG.with_(seed=8).fingerprint in left
    workspace.forget(KEY)  # a second time is no error


def test_an_object_store_without_postgresql_is_refused_with_a_remedy(root: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Workspace(root, STORE)
    assert str(refusal.value) == (
        "state_dir: needs leases in PostgreSQL, which an object store cannot keep, "
        f"got {root}; set SUITE_STORAGE to a postgresql:// address, or give a folder"
    )


def test_a_missing_driver_is_one_line_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match="state_dir: needs a driver") as refusal:
        Workspace("s3://bucket/state", STORE, DATABASE)
    assert str(refusal.value).endswith("; pip install s3fs")
    assert "\n" not in str(refusal.value)
