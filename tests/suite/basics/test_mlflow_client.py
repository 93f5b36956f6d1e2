"""MLflow's default store, all pages of a search, and experiments that several processes make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow_stores import Store

from suite.basics import mlflow_client
from suite.basics.mlflow_client import (
    artifacts_beside,
    default_experiment_id,
    default_uri,
    every_page,
    experiment_id,
)
from suite.basics.settings import ConfigError

PROGRAM = """
import sys
from suite.basics.mlflow_client import default_uri
print(default_uri(), "mlflow" in sys.modules)
"""


def in_a_fresh_process(**environment: str) -> list[str]:
    """The default store there, and whether MLflow was imported to say so."""
    known = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])} | environment
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_environment_names_the_store_without_the_seconds_of_importing_mlflow() -> None:
    assert in_a_fresh_process(MLFLOW_TRACKING_URI="http://h:5000") == ["http://h:5000", "False"]


def test_without_a_word_the_store_is_the_file_that_the_commands_help_names(store: Store) -> None:
    address, imported = in_a_fresh_process()
    assert Path(address.removeprefix("sqlite:///")).resolve() == store.path
    assert imported == "True"


def test_an_address_that_was_set_outweighs_the_environment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.set_tracking_uri(store.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    assert default_uri() == store.uri


def test_all_pages_of_a_search_are_read_each_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mlflow_client, "PAGE", 2)
    pages = {None: ([1, 2], "b"), "b": ([3, 4], "c"), "c": ([], "d"), "d": ([5], "")}
    asked: list[Any] = []

    class Page(list[int]):
        token = ""

    def search(*, max_results: int, page_token: str | None, order_by: str) -> Page:
        asked.append((max_results, page_token, order_by))
        found, token = pages[page_token]
        page = Page(found)
        page.token = token
        return page

    results = every_page(search, order_by="time")
    assert [next(results), next(results)] == [1, 2]
    assert asked == [(2, None, "time")]
    assert list(results) == [3, 4, 5]
    assert asked == [(2, token, "time") for token in pages]


def test_an_experiment_is_created_once_with_what_is_said_of_it(store: Store) -> None:
    client = MlflowClient(store.uri)
    place = (store.path.parent / "mlruns" / "new").as_uri()
    made = experiment_id(client, "new", tags={"kind": "x"})
    assert (
        experiment_id(
            client,
            "new",
        )
        == made
    )
    found = client.get_experiment(made)
    assert (found.name, found.artifact_location, found.tags["kind"]) == ("new", place, "x")


@pytest.mark.parametrize(
    ("uri", "name", "place"),
    [
        ("sqlite:////data/mlflow.db", "demo", "file:///data/mlruns/demo"),
        ("sqlite:////data/mlflow.db", "../a b/c", "file:///data/mlruns/-a-b-c"),
        ("sqlite:////data/mlflow.db", "..", "file:///data/mlruns/experiment"),
        ("http://127.0.0.1:5000", "demo", None),
        ("postgresql://host/database", "demo", None),
    ],
)
def test_files_of_a_sqlite_store_go_beside_it_and_never_elsewhere(
    uri: str, name: str, place: str | None
) -> None:
    assert artifacts_beside(uri, name) == place


NO_EXPERIMENT = "must be that of an experiment in the store, got"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"MLFLOW_EXPERIMENT_ID": "1"}, "MLFLOW_EXPERIMENT_ID: must not be a deleted experiment"),
        ({"MLFLOW_EXPERIMENT_ID": "99"}, f"MLFLOW_EXPERIMENT_ID: {NO_EXPERIMENT} '99'"),
        ({"MLFLOW_EXPERIMENT_ID": "abc"}, f"MLFLOW_EXPERIMENT_ID: {NO_EXPERIMENT} 'abc'"),
        ({"MLFLOW_EXPERIMENT_NAME": "gone"}, "got 'gone'; mlflow experiments restore"),
        ({"MLFLOW_EXPERIMENT_NAME": ""}, f"MLFLOW_EXPERIMENT_NAME: {NO_EXPERIMENT} ''"),
        (
            {"MLFLOW_EXPERIMENT_NAME": "new", "MLFLOW_EXPERIMENT_ID": "0"},
            f"MLFLOW_EXPERIMENT_NAME: {NO_EXPERIMENT} 'new'",
        ),
    ],
)
def test_an_experiment_of_the_environment_that_is_not_to_be_had_is_one_line(
    store: Store, variables: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(store.uri)
    client.delete_experiment(client.create_experiment("gone"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as found:
        default_experiment_id(client)
    assert line in str(found.value)
    assert "\n" not in str(found.value)


def test_a_server_that_is_away_is_not_taken_for_one_without_the_experiment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow says of both that the experiment does not exist."""
    away = MlflowException("no answer", TEMPORARILY_UNAVAILABLE)

    def ask(_client: MlflowClient, _number: str) -> None:
        raise away

    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setattr(MlflowClient, "get_experiment", ask)
    with pytest.raises(MlflowException) as found:
        default_experiment_id(MlflowClient(store.uri))
    assert found.value is away


def test_the_slower_of_two_takes_what_the_faster_has_made(store: Store) -> None:
    client = MlflowClient(store.uri)
    there = client.create_experiment("new")
    answers = [None, client.get_experiment_by_name("new")]  # before and after the faster one
    slower = SimpleNamespace(
        tracking_uri=store.uri,
        get_experiment_by_name=lambda _: answers.pop(0),
        create_experiment=client.create_experiment,
    )
    assert experiment_id(slower, "new") == there  # type: ignore[arg-type]
    assert answers == []
