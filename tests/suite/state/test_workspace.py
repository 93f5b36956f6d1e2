"""The files of runs under way: results put aside, nothing left over."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kept_run import CONFIG, KEY, STORE, finished_run
from safetensors.torch import load_file

from suite.declarations.config import RunConfig
from suite.declarations.predictions import PREDICTIONS_FILE, Predictions, decoded, encoded
from suite.engine.checkpoint import CheckpointError, RefusedError, RunState
from suite.state.best_model import BEST_FILES
from suite.state.workspace import Workspace

pytestmark = pytest.mark.usefixtures("beside_its_store")


def test_a_result_comes_back_to_the_last_digit(workspace: Workspace) -> None:
    run = finished_run()
    assert not workspace.has_result(KEY)
    workspace.keep_result(run, ("zero", "one"), (1, 8, 8))
    assert workspace.kept_results() == [KEY]
    assert workspace.has_result(KEY)
    kept = workspace.result(KEY)
    assert kept.config == CONFIG
    assert repr(kept.history) == repr(run.history)  # NaN included
    assert (kept.summary, kept.diverged) == (run.summary, False)
    with workspace.best(kept) as folder:
        assert folder is not None
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json",
            "model.safetensors",
        ]
        tensors = load_file(folder / "model.safetensors")
    assert set(tensors) == {"parameters/stem/kernel", "buffers/stem/mean"}
    assert run.parameters is not None
    assert torch.equal(tensors["parameters/stem/kernel"], run.parameters["stem/kernel"])


def some_predictions() -> Predictions:
    labels = np.array([0, 1, 1], dtype=np.uint8)
    return Predictions(labels, labels[::-1].copy(), np.ones(3, dtype=np.float16), 2)


def test_what_the_model_predicts_waits_beside_it_and_goes_with_it(workspace: Workspace) -> None:
    run = finished_run(predictions=some_predictions())
    workspace.keep_result(run, ("zero", "one"), (1, 8, 8))
    with workspace.best(workspace.check_result(KEY)) as folder:
        assert folder is not None
        found = decoded((folder / PREDICTIONS_FILE).read_bytes(), KEY)
        assert sorted(path.name for path in folder.iterdir()) == sorted(BEST_FILES)
    assert found.predicted.tolist() == [1, 1, 0]
    workspace.forget(KEY)
    assert not list(Path(workspace.folder).glob(f"{KEY}/**/*"))


def test_predictions_that_are_damaged_or_another_runs_are_refused(workspace: Workspace) -> None:
    workspace.keep_result(finished_run(predictions=some_predictions()), ("zero", "one"), (1, 8, 8))
    file = Path(workspace.folder) / KEY / "result" / "best" / PREDICTIONS_FILE
    for content in (encoded(some_predictions(), "f" * 16), file.read_bytes()[:-9]):
        file.write_bytes(content)
        with pytest.raises(RefusedError, match=r"^predictions: .*; train its run again$"):
            workspace.check_result(KEY)


def test_a_result_of_a_version_that_kept_no_predictions_is_good(workspace: Workspace) -> None:
    workspace.keep_result(finished_run(), ("zero", "one"), (1, 8, 8))
    assert workspace.check_result(KEY).config == CONFIG


def test_a_run_without_best_checkpoint_is_kept_without_one(workspace: Workspace) -> None:
    run = finished_run(parameters=None, buffers=None, diverged=True)
    workspace.keep_result(run, ("zero",), (1, 8, 8))
    kept = workspace.result(KEY)
    assert kept.diverged
    with workspace.best(kept) as folder:
        assert folder is None


def test_a_result_counts_only_when_it_is_complete(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(CheckpointError, match="No space left on device") as caught:
            workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    assert len(str(caught.value).splitlines()) == 1
    assert "--state-dir" in str(caught.value)
    assert workspace.kept_results() == []


def test_a_results_files_are_on_the_disk_one_after_the_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure, too, the result file is there only if the others are."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        steps.append(f"flush {kind}")
        fsync(descriptor)

    def noted_replace(source: Any, destination: Any) -> None:
        steps.append(Path(destination).name)
        replace(source, destination)

    (workspace.folder / KEY / "result" / "best").mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    names = ("model.safetensors", "config.json", "result.json")
    assert steps == [step for name in names for step in ("flush file", name, "flush folder")]


def test_a_runs_files_are_removed_and_no_others(workspace: Workspace) -> None:
    other = CONFIG.with_(seed=8)
    tensors = {"parameters": {"w": torch.ones(1)}}
    for config in (CONFIG, other):
        workspace.save(RunState(config, tensors, finished_run().history, 1.0))
    workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    workspace.forget(KEY)
    assert workspace.load(KEY) is None
    assert workspace.kept_results() == []
    assert not (workspace.folder / KEY).exists()
    left = workspace.load(other.fingerprint)
    assert left is not None
    assert (left.config, left.epoch) == (other, 2)
    workspace.forget(KEY)  # a second time is no error


def test_the_result_is_the_last_file_to_go(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dies while removing files has the next start upload, and remove, once more."""
    workspace.save(RunState(CONFIG, {"parameters": {"w": torch.ones(1)}}, [], 1.0))
    workspace.keep_result(finished_run(), ("zero",), (1, 8, 8))
    removed: list[str] = []
    scandir = os.scandir

    @contextmanager
    def result_first(path: Any) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield sorted(entries, key=lambda entry: entry.name != "result.json")

    def noted(remove: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, **options: Any) -> None:
            remove(path, **options)
            removed.append(Path(path).name)

        return call

    for name in ("remove", "unlink"):
        monkeypatch.setattr(os, name, noted(getattr(os, name)))
    monkeypatch.setattr(os, "scandir", result_first)
    workspace.forget(KEY)
    files = ["checkpoint.safetensors", "config.json", "model.safetensors", "result.json"]
    assert sorted(removed) == files
    assert removed[-1] == "result.json"


def test_a_state_directory_that_cannot_be_is_answered_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError) as caught:
        Workspace(tmp_path / "file", STORE).take_lease(KEY)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("state_dir: ")
    assert str(caught.value).endswith("choose another --state-dir")


def test_a_config_of_any_run_is_kept(workspace: Workspace) -> None:
    folder = {"dataset": "folder", "dataset_digest": "0123456789abcdef", "sigma_w": 1e-7}
    config = RunConfig.parse(folder)
    workspace.keep_result(finished_run(config=config), ("a", "b"), (3, 32, 32))
    assert workspace.result(config.fingerprint).config == config
