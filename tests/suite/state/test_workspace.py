"""The files of runs under way: leases between processes, results put aside, nothing left over."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EpochRecord
from suite.declarations.predictions import PREDICTIONS_FILE, Predictions, decoded, encoded
from suite.engine.checkpoint import CheckpointError, RefusedError, RunState
from suite.engine.runs import TrainedRun
from suite.state.best_model import BEST_FILES
from suite.state.workspace import Workspace

CONFIG = parse({"width": 4, "epochs": 2, "seed": 7})
KEY = CONFIG.fingerprint
STORE = ("sqlite:///mlflow.db", "0")
HOLDER = """
import sys
from pathlib import Path
from suite.state.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]), ("sqlite:///mlflow.db", "0"))
for line in sys.stdin:
    word, fingerprint = line.split()
    if word == "lease":
        held = workspace.take_lease(fingerprint)
        print("held" if held else "busy", flush=True)
    else:
        held.release()
        print("released", flush=True)
"""


@pytest.fixture(autouse=True)
def _where_the_store_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, STORE)


class Holder:
    """Another process which takes leases."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(root)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    made = Holder(tmp_path)
    yield made
    made.end()


def test_a_lease_is_for_one_process_and_ends_with_it_however_it_dies(
    workspace: Workspace, holder: Holder
) -> None:
    assert holder.ask(f"lease {KEY}") == "held"
    assert workspace.take_lease(KEY) is None
    assert workspace.take_lease("0" * 16) is not None  # other runs are free
    assert holder.ask(f"release {KEY}") == "released"
    ours = workspace.take_lease(KEY)
    assert ours is not None
    assert holder.ask(f"lease {KEY}") == "busy"
    ours.release()
    assert holder.ask(f"lease {KEY}") == "held"
    assert workspace.take_lease(KEY) is None
    os.kill(holder.process.pid, signal.SIGKILL)
    holder.process.wait()
    assert workspace.take_lease(KEY) is not None


def test_a_process_does_not_take_a_run_twice(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.take_lease(KEY)
    assert first is not None
    assert workspace.take_lease(KEY) is None
    assert Workspace(tmp_path, STORE).take_lease(KEY) is None
    first.release()
    assert workspace.take_lease(KEY) is not None


def test_two_state_directories_on_one_sqlite_store_share_its_leases(tmp_path: Path) -> None:
    first, second, default = (
        Workspace(root, STORE) for root in (tmp_path / "a", tmp_path / "b", tmp_path / "state")
    )
    lease = first.take_lease(KEY)
    assert lease is not None
    assert second.take_lease(KEY) is None
    assert default.take_lease(KEY) is None
    lease.release()
    lease = default.take_lease(KEY)
    assert lease is not None
    assert second.take_lease(KEY) is None
    lease.release()
    assert second.take_lease(KEY) is not None  # what it could not have in both, it has in neither


def test_a_state_directory_that_is_reached_through_a_link_does_not_keep_itself_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "state").symlink_to("large disk")
    workspace = Workspace(tmp_path / "large disk", STORE)
    assert workspace.take_lease(KEY) is not None
    with workspace.leases.exclusively("recipes"):
        pass


def test_where_leases_are_shared_and_cannot_be_the_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(
        CheckpointError, match="where all that use the SQLite store beside it share"
    ):
        Workspace(tmp_path / "elsewhere", STORE).take_lease(KEY)


def test_short_work_on_one_sqlite_store_is_done_by_one_state_directory_at_a_time(
    tmp_path: Path,
) -> None:
    first, second = (Workspace(tmp_path / name, STORE).leases for name in "ab")
    entered = threading.Event()

    def enter() -> None:
        with second.exclusively("recipes"):
            entered.set()

    other = threading.Thread(target=enter)
    with first.exclusively("recipes"):
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(30)
    other.join()


def test_equal_runs_of_other_stores_and_experiments_are_other_runs(tmp_path: Path) -> None:
    stores = [("sqlite:///a.db", "0"), ("sqlite:///b.db", "0"), ("sqlite:///a.db", "1")]
    workspaces = [Workspace(tmp_path, store) for store in stores]
    leases = [workspace.take_lease(KEY) for workspace in workspaces]
    assert None not in leases
    assert len({workspace.folder for workspace in workspaces}) == 3


def saved(place: Workspace, config: RunConfig = CONFIG) -> None:
    place.save(RunState(config, {"parameters": {"w": torch.ones(1)}}, finished_run().history, 1.0))


def test_one_file_has_one_folder_and_one_set_of_leases_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [
        f"sqlite:///{tmp_path}/mlflow.db",
        f"sqlite:///{tmp_path}/mlflow.db?timeout=60",
        f"sqlite+pysqlite:///{tmp_path}/link/./mlflow.db",
        "sqlite:///mlflow.db",
        "sqlite:///~/mlflow.db",
    ]
    workspaces = [Workspace(tmp_path / "state", (one, "1")) for one in spellings]
    assert len({place.folder for place in workspaces}) == 1
    held = [place.take_lease(KEY) for place in workspaces]
    assert held[0] is not None
    assert held[1:] == [None] * 4


def test_a_project_that_is_moved_as_a_whole_keeps_its_state(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    saved(Workspace(before / "state", (f"sqlite:///{before}/mlflow.db", "1", "created 5")))
    before.rename(after)
    found = Workspace(after / "state", (f"sqlite:///{after}/mlflow.db", "1", "created 5"))
    assert found.load(KEY) is not None


def test_a_new_store_in_the_place_of_another_has_nothing_of_its_state(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    saved(Workspace(tmp_path / "state", (store, "1", "created 5")))
    assert Workspace(tmp_path / "state", (store, "1", "created 6")).load(KEY) is None


@pytest.mark.parametrize("name", ["demo", "renamed-since"])
@pytest.mark.parametrize(
    "store", [("sqlite:///{}/mlflow.db", "1", "created 5"), ("created 5", "1")]
)
def test_the_folder_of_an_earlier_version_stays_in_use(
    tmp_path: Path, store: tuple[str, ...], name: str
) -> None:
    store = (store[0].format(tmp_path), *store[1:])
    key = hashlib.sha256("|".join(store[:2]).encode()).hexdigest()[:8]
    (tmp_path / "state" / f"{name}-{key}").mkdir(parents=True)
    (tmp_path / "state" / "demo-01234567").mkdir()
    assert Workspace(tmp_path / "state", store).folder.name == f"{name}-{key}"


def test_runs_that_another_folder_holds_are_found_there_and_ours_are_not(tmp_path: Path) -> None:
    stores = [(f"sqlite:///{tmp_path}/{name}.db", "1") for name in ("old", "new")]
    old, new = (Workspace(tmp_path / "state", store) for store in stores)
    (tmp_path / "state" / "log" / KEY).mkdir(parents=True)
    assert new.elsewhere([KEY]) == {}
    saved(old)
    saved(old, CONFIG.with_(seed=8))
    assert new.elsewhere([KEY]) == {old.folder: 1}
    assert new.elsewhere(["0" * 16]) == {}
    assert old.elsewhere([KEY]) == {}
    saved(new)
    assert new.elsewhere([KEY]) == {}


def finished_run(**changes: Any) -> TrainedRun:
    history = [
        EpochRecord(1, 1700000000001, 2.5, 0.1, float("nan"), 0.2, 3.0, 1e-3),
        EpochRecord(2, 1700000000002, 0.1 + 0.2, 1 / 3, 1.5, 0.3, 3.5, 1e-5),
    ]
    fields: dict[str, Any] = {
        "config": CONFIG,
        "history": history,
        "summary": {"test_accuracy": 1 / 3, "best_epoch": 2, "clock_sgd": 1e-300},
        "diverged": False,
        "parameters": {"stem/kernel": torch.randn(2, 3, generator=torch.Generator())},
        "buffers": {"stem/mean": torch.ones(2)},
    }
    return TrainedRun(**(fields | changes))


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
