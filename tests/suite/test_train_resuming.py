"""A run that is killed, interrupted or kept from its files ends as if undisturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from finished_run import (
    ARGUMENTS,
    CONFIG,
    KEY,
    SETTINGS,
    Finished,
    assert_ended_as_if_undisturbed,
    files_left,
    finish,
    words,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow_stores import Store, new_store
from training_commands import ROOT, Crash, Nursery

from suite import train
from suite.tracking.runs import Tracker
from suite.worker import worker

# Killed (SIGKILL) where something was just done that the next start must not do twice, or was just
# about to be done that it must not leave out.
CRASHES = [
    Crash("suite.state.workspace:Workspace.save", 2),
    Crash("suite.tracking.runs:Tracker.finish"),
    Crash("suite.state.workspace:Workspace.forget"),
]
MORE_CRASHES = [
    Crash("suite.tracking.runs:Tracker.create"),
    Crash("suite.tracking.runs:Tracker._log_params"),
    Crash("suite.tracking.runs:Tracker._log_data"),
    Crash("suite.tracking.runs:Tracker.create", after=True),
    Crash("suite.state.workspace:Workspace.save"),
    Crash("suite.engine.tensor_file:save_file", 3),
    Crash("suite.engine.tensor_file:save_file", 3, after=True),
    Crash("suite.state.workspace:Workspace.save", after=True),
    Crash("suite.tracking.runs:Tracker.log_epochs"),
    Crash("suite.tracking.runs:Tracker.log_epochs", 2, after=True),
    Crash("suite.state.workspace:Workspace.save", 3, after=True),
    Crash("suite.state.files:StateFiles.write_model"),
    Crash("suite.state.files:StateFiles.write_model", after=True),
    Crash("suite.state.files:StateFiles.write", 2),
    Crash("suite.state.files:StateFiles.write", 2, after=True),
    Crash("suite.tracking.runs:Tracker.log_missing_epochs", after=True),
    Crash("suite.tracking.runs:Tracker.log_best"),
    Crash("suite.tracking.runs:Tracker.log_best", after=True),
    Crash("suite.tracking.runs:Tracker._log", 3, after=True),
    Crash("mlflow:MlflowClient.log_batch", 5, after=True),
    Crash("mlflow:MlflowClient.set_terminated"),
    Crash("suite.tracking.runs:Tracker.finish", after=True),
    Crash("suite.tracking.runs:Tracker.supersede", after=True),
    Crash("os:rmdir"),
    Crash("os:rmdir", after=True),
    Crash("suite.state.workspace:Workspace.forget", after=True),
]


@pytest.mark.parametrize(
    "crash",
    [*CRASHES, *(pytest.param(crash, marks=pytest.mark.slow) for crash in MORE_CRASHES)],
    ids=str,
)
def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished, crash: Crash
) -> None:
    store = new_store(empty_store, tmp_path)
    killed = nursery.run(ARGUMENTS, tmp_path, crash=crash)
    assert killed.code == -signal.SIGKILL, killed.err
    begun = list(store.statuses())
    ended = nursery.run(ARGUMENTS, tmp_path)
    assert ended.code == 0, ended.err
    run_id = assert_ended_as_if_undisturbed(store, uninterrupted)
    assert begun in ([], [run_id])


@pytest.mark.parametrize(
    "crash",
    [
        Crash("suite.tracking.runs:Tracker.log_epochs", 3),
        pytest.param(Crash("suite.tracking.runs:Tracker.finish"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_without_checkpoints_starts_anew_and_ends_right(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished, crash: Crash
) -> None:
    store = new_store(empty_store, tmp_path)
    arguments = [*ARGUMENTS, "--checkpoint", "off"]
    assert nursery.run(arguments, tmp_path, crash=crash).code == -signal.SIGKILL
    assert not list((tmp_path / "state").rglob("checkpoint*"))
    assert nursery.run(arguments, tmp_path).code == 0
    assert_ended_as_if_undisturbed(store, uninterrupted)


@pytest.mark.parametrize(
    "then",
    [
        ["--state-dir", "elsewhere"],
        pytest.param(["--checkpoint", "on"], marks=pytest.mark.slow),
    ],
)
def test_a_run_whose_checkpoint_is_lost_has_no_epoch_twice(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished, then: list[str]
) -> None:
    """MLflow knows more than the state directory: on another machine, or after --checkpoint off."""
    store = new_store(empty_store, tmp_path)
    first = [*ARGUMENTS, "--checkpoint", {"--checkpoint": "off"}.get(then[0], "on")]
    crash = Crash("suite.tracking.runs:Tracker.log_epochs", 3)
    assert nursery.run(first, tmp_path, crash=crash).code == -signal.SIGKILL
    (run_id,) = store.statuses()
    assert {epoch for _, epoch, _ in store.history(run_id)} == {1, 2}
    assert nursery.run([*ARGUMENTS, *then], tmp_path).code == 0
    history = store.history(run_id)
    assert history == uninterrupted.store.history(uninterrupted.run_id)
    assert store.statuses() == {run_id: "FINISHED"}


def wait_for_epochs(store: Store, count: int, alive: subprocess.Popen[str] | None = None) -> None:
    """Until MLflow has so many rows of one per-epoch metric."""
    query = "SELECT COUNT(*) FROM metrics WHERE key = 'val_loss'"
    end = time.monotonic() + 120
    while store.rows(query)[0][0] < count:
        assert time.monotonic() < end
        assert alive is None or alive.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_ends_at_once_and_the_same_command_goes_on(
    nursery: Nursery, empty_store: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = words(SETTINGS | {"epochs": "15"})
    reference = finish(nursery, empty_store, tmp_path / "reference", arguments)
    store = new_store(empty_store, tmp_path / "interrupted")
    command = nursery.start(arguments, tmp_path / "interrupted")
    wait_for_epochs(store, 2)
    command.signal(number)
    asked = time.monotonic()
    ended = command.wait()
    assert time.monotonic() - asked < 5
    assert ended.code == 130
    message = "interrupted; the same command goes on from the last checkpoint"
    assert ended.err.splitlines() == [message]
    ((run_id, status),) = store.statuses().items()
    assert status == "KILLED"
    assert store.tags(run_id)["state"] == "interrupted"
    epochs = {epoch for _, epoch, _ in store.history(run_id)}
    again = nursery.run(arguments, tmp_path / "interrupted")
    assert again.code == 0, again.err
    assert again.out.startswith(f"going on with run {run_id} after epoch {max(epochs)} of 15\n")
    assert assert_ended_as_if_undisturbed(store, reference) == run_id


def test_a_state_directory_that_cannot_be_written_is_answered_in_one_line(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    store = new_store(empty_store, tmp_path)
    (tmp_path / "state").write_text("a file in its place")
    ended = nursery.run(ARGUMENTS, tmp_path)
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("error: state_dir: ")
    assert line.endswith("; free some space or choose another --state-dir")
    assert store.statuses() == {}


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_once_there_is_space(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished
) -> None:
    """A limit on the size of files stands for the disk: writing fails half-way in a checkpoint."""
    store = new_store(empty_store, tmp_path)
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    arguments = words(SETTINGS | {"width": "16", "epochs": "2"})
    ended = nursery.run(arguments, tmp_path, largest_file=4 * size)
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("error: checkpoint: ")
    assert line.endswith("; free some space or choose another --state-dir")
    ((run_id, status),) = store.statuses().items()
    assert status == "KILLED"
    assert store.tags(run_id)["state"] == "interrupted"
    assert files_left(tmp_path) == []
    assert nursery.run(arguments, tmp_path).code == 0
    assert store.statuses() == {run_id: "FINISHED"}


def test_a_result_that_mlflow_could_not_take_is_uploaded_by_the_next_start(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished
) -> None:
    store = new_store(empty_store, tmp_path)
    crash = Crash("suite.tracking.runs:Tracker.log_best")
    assert nursery.run(ARGUMENTS, tmp_path, crash=crash).code == -signal.SIGKILL
    other = words(SETTINGS | {"seed": "1", "epochs": "1"})
    assert nursery.run(other, tmp_path).code == 0  # any command of the experiment does it
    assert sorted(store.statuses().values()) == ["FINISHED", "FINISHED"]
    ended = nursery.run(ARGUMENTS, tmp_path)
    assert "is finished already" in ended.out
    fingerprint = "SELECT run_uuid FROM tags WHERE key = 'fingerprint' AND value = ?"
    ((run_id,),) = store.rows(fingerprint, KEY)
    assert store.history(run_id) == uninterrupted.store.history(uninterrupted.run_id)
    assert files_left(tmp_path) == []


def test_a_result_that_mlflow_still_does_not_take_stays_and_is_not_trained_again(
    nursery: Nursery,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    crash = Crash("suite.tracking.runs:Tracker.log_best")
    assert nursery.run(ARGUMENTS, tmp_path, crash=crash).code == -signal.SIGKILL
    kept = files_left(tmp_path)

    def away(*_: object) -> None:
        raise MlflowException("no answer", TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr(Tracker, "log_best", away)
    monkeypatch.setattr(worker, "FINAL_WAIT", 0.5)
    assert train.main(ARGUMENTS) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("MLflow is away (no answer); ")
    assert lines[-1] == f"{CONFIG.run_name} is trained and waits for MLflow; try again later"
    assert files_left(tmp_path) == kept
    assert list(store.statuses().values()) == ["RUNNING"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_command_killed_at_three_random_instants_ends_as_if_undisturbed(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    arguments = words(SETTINGS | {"epochs": "200"})
    reference = finish(nursery, empty_store, tmp_path / "reference", arguments)
    folder = tmp_path / "killed"
    store = new_store(empty_store, folder)
    command = [sys.executable, "-m", "suite.train", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    generator = random.Random()  # the instants are told if the test fails
    instants = []
    for attempt in range(3):
        process = subprocess.Popen(command, cwd=folder, env=environment, text=True)
        if attempt:  # not before it trains again
            wait_for_epochs(store, 1, process)
        instants.append(generator.uniform(0.0, 8.0))
        time.sleep(instants[-1])
        process.kill()
        process.wait()
    ended = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, (instants, ended.stderr)
    assert_ended_as_if_undisturbed(store, reference)


def test_two_commands_do_not_train_one_run(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    store = new_store(empty_store, tmp_path)
    arguments = words(SETTINGS | {"epochs": "1000"})
    command = nursery.start(arguments, tmp_path)
    wait_for_epochs(store, 1)
    second = nursery.run(arguments, tmp_path)
    assert second.code == 1
    assert second.err.endswith("is being trained by another process; try again later\n")
    assert len(second.err.splitlines()) == 1
    assert len(store.statuses()) == 1
    command.signal(signal.SIGKILL)
    assert command.wait().code == -signal.SIGKILL
