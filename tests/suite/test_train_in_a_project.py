"""Runs that `mlflow run` begins, or that MLFLOW_RUN_ID names."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import mlflow
import pytest
from finished_run import (
    ARGUMENTS,
    SETTINGS,
    Finished,
    assert_ended_as_if_undisturbed,
    words,
)
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_TYPE
from mlflow_stores import Store, new_store
from training_commands import Crash, Nursery

from suite import train


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
