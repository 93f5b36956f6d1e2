"""Which run of MLFLOW_RUN_ID is the one that ``mlflow run`` has just begun."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_TYPE
from mlflow_stores import Store

from suite.basics.project_run import project_run

PROJECT = {MLFLOW_SOURCE_TYPE: "PROJECT"}


@pytest.fixture
def client(store: Store, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return MlflowClient(store.uri)


def test_without_the_variable_there_is_none_and_no_store_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert project_run("nonsense://") == ""


@pytest.mark.parametrize("experiment", [None, "", "Default"])
def test_a_run_as_the_runner_leaves_it_is_taken(
    experiment: str | None, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = client.create_run("0", tags=PROJECT).info.run_id
    client.log_param(run_id, "learning_rate", "1e-3")  # the runner logs what was given
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert project_run(client.tracking_uri, experiment=experiment) == run_id


SPOILED: dict[str, Callable[[MlflowClient, str], object]] = {
    "it is deleted": lambda client, run_id: client.delete_run(run_id),
    "it is FINISHED": lambda client, run_id: client.set_terminated(run_id),
    "it is FAILED": lambda client, run_id: client.set_terminated(run_id, "FAILED"),
    "it is not of a project": lambda client, run_id: client.delete_tag(run_id, MLFLOW_SOURCE_TYPE),
    "it holds results": lambda client, run_id: client.set_tag(run_id, "fingerprint", "abc"),
}


@pytest.mark.parametrize("reason", [*SPOILED, "it holds results: metrics"])
def test_any_other_run_is_ignored_in_one_line(
    reason: str,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_id = client.create_run("0", tags=PROJECT).info.run_id
    spoil = SPOILED.get(reason, lambda client, run_id: client.log_metric(run_id, "loss", 1.0))
    spoil(client, run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert project_run(client.tracking_uri) == ""
    told = f"MLFLOW_RUN_ID: must be a run that `mlflow run` has just begun, got {run_id!r} "
    assert capsys.readouterr().err == f"{told}({reason.partition(':')[0]}); ignored\n"
    assert "MLFLOW_RUN_ID" not in os.environ


@pytest.mark.parametrize("experiment", ["", "another", "not there"])
def test_a_run_of_another_experiment_is_ignored(
    experiment: str,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.create_experiment("another")
    elsewhere = client.create_experiment("elsewhere")
    run_id = client.create_run(elsewhere, tags=PROJECT).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert project_run(client.tracking_uri, experiment=experiment) == ""
    assert "(it is in the experiment 'elsewhere'); ignored" in capsys.readouterr().err


def test_an_id_that_no_run_has_is_ignored(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert project_run(client.tracking_uri) == ""
    (line,) = capsys.readouterr().err.splitlines()
    assert "not found" in line
    assert line.endswith("; ignored")


@pytest.mark.parametrize("place", ["sqlite:///none.db", "sqlite://none.db", "http://127.0.0.1:1"])
def test_where_there_is_no_store_none_is_made_nor_waited_for(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert project_run(place) == ""
    line = capsys.readouterr().err
    assert line.endswith("; ignored\n")
    assert line.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
