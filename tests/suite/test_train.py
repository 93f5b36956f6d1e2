"""The training command as a person has it: repeated, refused, told where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch
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
from mlflow_stores import Store, new_store
from training_commands import ROOT, Nursery

import suite
from suite import train
from suite.data.splits import load as load_data
from suite.declarations.layers import layers_of
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES


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
