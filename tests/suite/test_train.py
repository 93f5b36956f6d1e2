"""The training command as a person has it: repeated, interrupted, killed, refused."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_TYPE
from mlflow_stores import Store, new_store
from training_commands import ROOT, Crash, Ended, Nursery

import suite
from suite import train
from suite.data.splits import load as load_data
from suite.declarations.config import parse
from suite.declarations.layers import layers_of
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES
from suite.tracking.runs import Tracker
from suite.worker import worker

SETTINGS = {
    "width": "4",
    "epochs": "4",
    "batch_size": "32",
    "train_fraction": "0.2",
    "optimizer": "adam",
    "learning_rate": "1e-2",
    "seed": "42",
}


def words(settings: dict[str, str]) -> list[str]:
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in settings.items()]
    return [word for pair in pairs for word in pair] + ["--threads", "1"]


ARGUMENTS = words(SETTINGS)
CONFIG = parse(SETTINGS)
KEY = CONFIG.fingerprint


@dataclass(frozen=True)
class Finished:
    """A store with one finished run in it."""

    store: Store
    ended: Ended

    @property
    def run_id(self) -> str:
        ((run_id, status),) = self.store.statuses().items()
        assert status == "FINISHED"
        return run_id

    @property
    def artifacts(self) -> dict[str, bytes]:
        folder = self.store.path.parent / "mlruns" / "0" / self.run_id / "artifacts"
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def finish(nursery: Nursery, empty_store: Path, folder: Path, arguments: list[str]) -> Finished:
    store = new_store(empty_store, folder)
    ended = nursery.run(arguments, folder)
    assert ended.code == 0, ended.err
    return Finished(store, ended)


@pytest.fixture(scope="module")
def uninterrupted(
    nursery: Nursery, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The run that nothing has disturbed, in a store of its own."""
    return finish(nursery, empty_store, tmp_path_factory.mktemp("uninterrupted"), ARGUMENTS)


def files_left(folder: Path) -> list[Path]:
    """What lies in the state directory besides the lock files, which stay."""
    files = (path for path in (folder / "state").rglob("*") if path.is_file())
    return [path for path in files if path.parent.name != "leases"]


def assert_ended_as_if_undisturbed(store: Store, reference: Finished) -> str:
    """Exactly one finished run, equal to the reference to the last bit; its id."""
    found = Finished(store, reference.ended)
    assert store.history(found.run_id) == reference.store.history(reference.run_id)
    ours, theirs = store.latest(found.run_id), reference.store.latest(reference.run_id)
    assert ours == theirs
    assert store.params(found.run_id) == reference.store.params(reference.run_id)
    assert found.artifacts == reference.artifacts
    tags = store.tags(found.run_id)
    assert (tags["state"], tags["diverged"]) == ("finished", "false")
    assert layers_of(tags) == layers_of(reference.store.tags(reference.run_id))
    assert files_left(store.path.parent) == []
    return found.run_id


def test_a_run_ends_in_mlflow_complete(uninterrupted: Finished) -> None:
    store, run_id = uninterrupted.store, uninterrupted.run_id
    rows = store.history(run_id)
    epochs = {(name, epoch) for name, epoch, _ in rows}
    assert epochs == {(name, epoch) for name in EPOCH_METRIC_NAMES for epoch in range(1, 5)}
    assert len(rows) == len(epochs)
    latest = store.latest(run_id)
    optional = {"interpolation_epoch", "repair_gap"}
    assert {*EPOCH_METRIC_NAMES, *SUMMARY_METRIC_NAMES} - optional <= set(latest)
    assert latest["epochs_trained"] == 4
    assert store.tags(run_id)["fingerprint"] == KEY
    layers = layers_of(store.tags(run_id))
    assert layers is not None
    assert layers.epochs == (0, 1, 2, 3, 4)
    best = ("config.json", "model.safetensors", "predictions.parquet")
    assert set(uninterrupted.artifacts) == {f"best/{name}" for name in best}
    assert files_left(store.path.parent) == []
    lines = uninterrupted.ended.out.splitlines()
    assert lines[0].startswith(f"test accuracy {latest['test_accuracy']:.2%} at τ_best = epoch ")
    assert lines[1].startswith(f"run {run_id} in experiment 'Default'")


def test_a_finished_run_says_so_and_is_left_alone(
    nursery: Nursery, uninterrupted: Finished
) -> None:
    store, run_id = uninterrupted.store, uninterrupted.run_id
    before = store.rows("SELECT COUNT(*) FROM metrics"), store.tags(run_id), store.latest(run_id)
    # The same configuration in another spelling.
    other = words(SETTINGS | {"learning_rate": "0.01", "sigma_w": "1", "momentum": "0.9"})
    ended = nursery.run(other, store.path.parent)
    assert ended.code == 0
    assert ended.err == ""
    assert ended.out == (
        f"{CONFIG.run_name} is finished already (run {run_id}); --force trains it again\n"
    )
    assert (
        store.rows("SELECT COUNT(*) FROM metrics"),
        store.tags(run_id),
        store.latest(run_id),
    ) == before
    assert list(store.statuses()) == [run_id]


def test_a_reloaded_run_gives_its_test_accuracy_again(uninterrupted: Finished) -> None:
    logged = uninterrupted.store.latest(uninterrupted.run_id)
    model = suite.load(uninterrupted.run_id, tracking_uri=uninterrupted.store.uri)
    assert model.config == CONFIG
    assert model.classes == tuple("0123456789")
    data = load_data("digits", None, train_fraction=0.2)
    loss, accuracy = model.evaluate(data.test)
    assert (loss, accuracy) == (logged["test_loss"], logged["test_accuracy"])
    scores = model(data.test.images)
    assert scores.shape == (len(data.test), 10)
    right = (scores.argmax(1) == data.test.labels).double().mean().item()
    assert right == pytest.approx(logged["test_accuracy"], abs=1e-12)
    assert torch.equal(model(data.test.images.float() / 255), scores)


def test_reloading_leaves_nothing_in_the_temporary_directory(
    uninterrupted: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    suite.load(uninterrupted.run_id, tracking_uri=uninterrupted.store.uri)
    assert list(tmp_path.iterdir()) == []


def test_force_trains_again_and_replaces_the_run(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished
) -> None:
    first = finish(nursery, empty_store, tmp_path, ARGUMENTS).run_id
    store = Store(tmp_path / "mlflow.db")
    in_the_future = 4_000_000_000_000  # of a clock that has been set back since
    store.execute("UPDATE runs SET start_time = ?, end_time = ?", in_the_future, in_the_future)
    ended = nursery.run([*ARGUMENTS, "--force"], tmp_path)
    assert ended.code == 0, ended.err
    second = assert_ended_as_if_undisturbed(store, uninterrupted)
    assert second != first
    gone = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'"
    assert store.rows(gone) == [(first,)]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"learning_rate": "-1"}, "learning_rate: must be greater than 0, got '-1'; "),
        ({"sigma_w": "wide"}, "sigma_w: must be a valid number, "),
        ({"optimizer": "adamm"}, "optimizer: must be one of sgd, momentum, adam, adamw, "),
        ({"momentum": "0.5"}, "momentum: acts only with optimizer=momentum, got 0.5 with "),
        ({"batch_size": "5000"}, "batch_size: must not exceed the 230 training images, got 5000; "),
        ({"augmentation": "flip-crop", "dataset": "digits", "train_fraction": "1e-9"},
         "train_fraction: must leave an image for training, "),
        ({"batch_size": "229"}, "batch_size: BatchNorm needs two images or more in every batch, "),
        ({"device": "cuda:99"}, "device: must exist on this machine, got cuda:99; "),
        ({"dataset": "folder", "data_dir": "nowhere"}, "data_dir: "),
        ({"epohcs": "4"}, "epohcs: is no setting, got '4'; did you mean epochs?"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_the_impossible_is_answered_in_one_line_and_leaves_no_run(
    nursery: Nursery, empty_store: Path, tmp_path: Path, changes: dict[str, str], line: str
) -> None:
    store = new_store(empty_store, tmp_path)
    ended = nursery.run(words(SETTINGS | changes), tmp_path)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith(f"error: {line}")
    assert store.rows("SELECT COUNT(*) FROM runs") == [(0,)]
    assert not (tmp_path / "state").exists()


def test_an_impossible_value_does_not_even_make_a_store(nursery: Nursery, tmp_path: Path) -> None:
    assert nursery.run(["--sigma-w", "0"], tmp_path).code == 2
    assert {path.suffix for path in tmp_path.iterdir()} == {".out", ".err"}


@pytest.mark.slow
def test_a_model_unknown_to_timm_is_answered_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(["--model", "timm/no_such_model", "--threads", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: model: ")
    assert "'timm/no_such_model'" in line
    assert list(tmp_path.iterdir()) == []


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


def test_the_environment_names_store_and_experiment(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    store = new_store(empty_store, tmp_path / "named")
    environment = {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_EXPERIMENT_NAME": "mine"}
    arguments = words(SETTINGS | {"epochs": "1"})
    assert nursery.run(arguments, tmp_path, environment=environment).code == 0
    mine = "SELECT experiment_id FROM experiments WHERE name = 'mine'"
    assert store.rows("SELECT experiment_id FROM runs") == store.rows(mine)
    assert not (tmp_path / "mlflow.db").exists()
    assert (tmp_path / "named" / "state").exists()  # beside the store
    (checkpoint,) = tmp_path.rglob("model.safetensors")
    assert checkpoint.is_relative_to(tmp_path / "named" / "mlruns" / "mine")
    environment = {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_EXPERIMENT_ID": "99"}
    refused = nursery.run(arguments, tmp_path, environment=environment)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: MLFLOW_EXPERIMENT_ID: must be that of an experiment")
    assert refused.err.count("\n") == 1


@pytest.mark.slow
def test_flags_go_before_the_environment(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    store = new_store(empty_store, tmp_path / "named")
    environment = {"MLFLOW_TRACKING_URI": "sqlite:///not-this.db", "MLFLOW_EXPERIMENT_NAME": "no"}
    flags = ["--tracking-uri", store.uri, "--experiment", "yes", "--state-dir", "kept here"]
    arguments = [*words(SETTINGS | {"epochs": "1"}), *flags]
    assert nursery.run(arguments, tmp_path, environment=environment).code == 0
    names = store.rows("SELECT name FROM experiments ORDER BY name")
    assert names == [("Default",), ("yes",)]
    assert list(store.statuses().values()) == ["FINISHED"]
    assert (tmp_path / "kept here").exists()
    assert not list(tmp_path.glob("not-this*"))


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


def test_a_diverging_run_is_finished_and_says_so(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    changes = {"optimizer": "sgd", "learning_rate": "1e30", "norm": "layer"}
    run = finish(nursery, empty_store, tmp_path, words(SETTINGS | changes))
    assert run.store.tags(run.run_id)["diverged"] == "true"
    assert run.ended.out.startswith("diverged in epoch 1: the loss is not finite\n")
    assert run.store.latest(run.run_id)["epochs_trained"] == 1
    assert nursery.run(words(SETTINGS | changes), tmp_path).out.count("is finished already") == 1


@pytest.mark.slow
def test_a_run_that_stops_early_is_finished(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    """With steps too small for float32 and no running statistics, val_loss never gets lower."""
    still = {"optimizer": "sgd", "learning_rate": "1e-30", "norm": "layer"}
    changes = {"early_stopping_patience": "2", "epochs": "200", **still}
    run = finish(nursery, empty_store, tmp_path, words(SETTINGS | changes))
    latest = run.store.latest(run.run_id)
    assert (latest["best_epoch"], latest["epochs_trained"]) == (1, 3)


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


def wait_until_only(store: Store, run_ids: list[str]) -> None:
    end = time.monotonic() + 120
    while list(store.statuses()) != run_ids:
        assert time.monotonic() < end, store.statuses()
        time.sleep(0.05)


def begun_by_mlflow_run(store: Store) -> tuple[mlflow.MlflowClient, str, dict[str, str]]:
    """A run as the runner of ``mlflow run`` begins it, and the environment it gives."""
    client = mlflow.MlflowClient(store.uri)
    run_id = client.create_run("0", tags={MLFLOW_SOURCE_TYPE: "PROJECT"}).info.run_id
    environment = {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_EXPERIMENT_ID": "0"}
    return client, run_id, environment | {"MLFLOW_RUN_ID": run_id}


def test_a_run_that_mlflow_run_began_for_nothing_is_removed_once_its_runner_has_let_go(
    nursery: Nursery, empty_store: Path, tmp_path: Path
) -> None:
    store = new_store(empty_store, tmp_path)
    client, run_id, environment = begun_by_mlflow_run(store)
    ended = nursery.run(words({"sigma_w": "0"}), tmp_path, environment=environment)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert list(store.statuses()) == [run_id]  # its runner will want to set its status
    client.set_terminated(run_id, "FAILED")
    wait_until_only(store, [])


@pytest.mark.parametrize("change", [{"seed": "1"}, {"sigma_w": "big"}, {}])
def test_a_run_id_left_in_the_shell_leaves_that_run_as_it_is(
    change: dict[str, str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = mlflow.MlflowClient(store.uri)
    old = client.create_run("0", run_name="somebody's").info.run_id
    client.log_metric(old, "test_accuracy", 0.5)
    client.set_terminated(old)
    before = client.get_run(old).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", old)
    discarded: list[str] = []
    monkeypatch.setattr(train, "_discard", lambda run_id, _: discarded.append(run_id))
    assert train.main(words(SETTINGS | change)) == (2 if "sigma_w" in change else 0)
    assert f"got {old!r} (it is FINISHED); ignored\n" in capsys.readouterr().err
    assert client.get_run(old).to_dictionary() == before
    assert not discarded


@pytest.mark.slow
def test_a_run_that_mlflow_run_began_gives_way_to_the_interrupted_one(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished
) -> None:
    store = new_store(empty_store, tmp_path)
    crash = Crash("suite.state.workspace:Workspace.save", 3)
    assert nursery.run(ARGUMENTS, tmp_path, crash=crash).code == -signal.SIGKILL
    (interrupted,) = store.statuses()
    client, begun, environment = begun_by_mlflow_run(store)
    assert nursery.run(ARGUMENTS, tmp_path, environment=environment).code == 0
    client.set_terminated(begun, "FINISHED")
    wait_until_only(store, [interrupted])
    assert_ended_as_if_undisturbed(store, uninterrupted)


@pytest.mark.slow
def test_a_run_that_mlflow_run_began_is_the_run(
    nursery: Nursery, empty_store: Path, tmp_path: Path, uninterrupted: Finished
) -> None:
    store = new_store(empty_store, tmp_path)
    client, begun, environment = begun_by_mlflow_run(store)
    client.log_param(begun, "learning_rate", "1e-2")
    ended = nursery.run(ARGUMENTS, tmp_path, environment=environment)
    assert ended.code == 0, ended.err
    assert store.statuses() == {begun: "FINISHED"}
    assert store.params(begun)["learning_rate"] == "1e-2"
    history = uninterrupted.store.history(uninterrupted.run_id)
    assert store.history(begun) == history


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


@pytest.mark.slow
def test_the_real_command_trains(store: Store, tmp_path: Path, uninterrupted: Finished) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "suite.train", *ARGUMENTS]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    run_id = assert_ended_as_if_undisturbed(store, uninterrupted)
    line = f"run {run_id} in experiment 'Default'; to look: mlflow ui"
    assert ended.stdout.splitlines()[-1] == line
    assert mlflow.MlflowClient(store.uri).get_run(run_id).info.run_name == CONFIG.run_name
