"""What an upgrade of MLflow may break: its tables and undocumented names, which the project uses.

A failure here says what has changed in MLflow and which modules lean on it.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import mlflow
import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.environment_variables import MLFLOW_RUN_ID
from mlflow.tracking import fluent
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils import rest_utils, validation
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from mlflow_stores import Store
from sqlalchemy import Engine, NullPool, Table, create_engine, select

from analysis.store import bulk
from analysis.tracked import NAME_LIMIT
from suite.basics.mlflow_tables import (
    LARGEST,
    METADATA,
    latest_metrics,
    metrics,
    params,
    restored,
    tags,
)
from suite.basics.project_run import VARIABLE
from suite.declarations.tags import NAME_TAG, NOTE_TAG, PARENT_TAG
from suite.tracking.runs import ENTITIES_PER_BATCH, PARAMS_PER_BATCH, Tracker

ROOT = Path(__file__).parents[1]
# By stores that are made up: rows of whole tables, whose columns they do not name.
ONLY_WRITTEN = {"source_type", "user_id"}
MLFLOW = f"MLflow {mlflow.__version__}"


@cache
def sources() -> dict[str, str]:
    """Module to text, of all that are no tests."""
    files = [
        path for room in ("suite", "analysis", "benchmarks") for path in (ROOT / room).rglob("*.py")
    ]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {names[path]: path.read_text(encoding="utf-8") for path in sorted(files)}


def users(name: str) -> str:
    """The modules that speak of a name."""
    found = [module for module, text in sources().items() if re.search(rf"\b{name}\b", text)]
    assert found, f"{name}: no module uses it; take it out of this test"
    return ", ".join(found)


def users_of(table: Table, column: str = "") -> str:
    """The modules that take a table from `suite.basics.mlflow_tables`, and speak of a column."""
    taken = (
        rf"from suite\.basics\.mlflow_tables import (\([^)]*\b{table.name}\b|.*\b{table.name}\b)"
    )
    named = rf"\.{column}\b" if column else ""
    found = (
        m for m, text in sources().items() if re.search(taken, text) and re.search(named, text)
    )
    return ", ".join(found)


def opened(uri: str) -> Engine:
    return create_engine(uri, poolclass=NullPool)


def differences(engine: Engine, table: Table) -> list[str]:
    """A line for each thing that is not in the store as it is declared."""
    there = sqlalchemy.inspect(engine)
    if not there.has_table(table.name):
        return [f"{MLFLOW} has no table {table.name}, asked by {users_of(table)}"]
    kinds = {
        column["name"]: column["type"].python_type.__name__
        for column in there.get_columns(table.name)
    }
    lines = []
    for column in table.columns:
        found, declared = kinds.get(column.name, "not there"), column.type.python_type.__name__
        if found != declared:
            asked = users_of(table, column.name) or users_of(table)
            lines.append(
                f"{MLFLOW}: {table.name}.{column.name} is {found}, not {declared}, asked by {asked}"
            )
    return lines


TABLES = pytest.mark.parametrize("table", METADATA.tables.values(), ids=list(METADATA.tables))


@TABLES
def test_a_new_store_has_the_declared_table(table: Table, store: Store) -> None:
    assert differences(opened(store.uri), table) == []


@pytest.mark.slow
def test_a_new_store_in_postgresql_has_the_declared_tables(postgresql: str) -> None:
    uri = postgresql.replace("postgresql:", "postgresql+psycopg:")
    MlflowClient(uri).search_experiments()
    engine = opened(uri)
    assert [line for table in METADATA.tables.values() for line in differences(engine, table)] == []


def test_a_client_gives_the_engine_by_which_a_store_that_is_made_is_let_go(store: Store) -> None:
    client = MlflowClient(store.uri)
    client.search_experiments()
    engine = client._tracking_client.store.engine
    assert isinstance(engine, Engine), f"{MLFLOW}: asked by suite.basics.sqlite_store"
    assert engine.url.database == str(store.path)


@TABLES
def test_every_declared_table_and_column_is_asked_by_somebody(table: Table) -> None:
    needed = {column.name for column in table.columns} - ONLY_WRITTEN
    assert [name for name in sorted(needed) if not users_of(table, name)] == []


def test_what_an_upgrade_has_changed_is_named_with_the_modules_that_lean_on_it(
    store: Store,
) -> None:
    engine = opened(store.uri)
    store.execute("ALTER TABLE tags RENAME COLUMN value TO content")
    (line,) = differences(engine, tags)
    assert line.startswith(f"{MLFLOW}: tags.value is not there, not str, asked by ")
    assert "analysis.store.sql" in line
    assert "suite.tracking.queries" in line
    store.execute("ALTER TABLE params RENAME TO parameters")
    (line,) = differences(engine, params)
    assert line.startswith(f"{MLFLOW} has no table params, asked by analysis.store.sql")


def test_metrics_lie_by_name_and_time_with_nothing_left_out(store: Store) -> None:
    """Thus one metric is one stretch of the primary key, and a row cannot be there twice."""
    key = sqlalchemy.inspect(opened(store.uri)).get_pk_constraint(metrics.name)
    expected = ["key", "timestamp", "step", "run_uuid", "value", "is_nan"]
    assert key["constrained_columns"] == expected, (
        f"{MLFLOW} keeps metrics otherwise; see analysis.store.sqlite_scan, and the rows that "
        "suite.tracking.runs writes again after a crash"
    )
    assert set(expected) == {column.name for column in metrics.columns}


@pytest.mark.parametrize("table", [metrics, latest_metrics, params, tags], ids=lambda t: t.name)
def test_a_runs_rows_are_found_by_an_index(table: Table, store: Store) -> None:
    indexes = sqlalchemy.inspect(opened(store.uri)).get_indexes(table.name)
    first = {index["column_names"][0] for index in indexes}
    assert table.c.run_uuid.name in first, f"{MLFLOW}: slow in {users_of(table)}"


def test_values_that_are_not_finite_come_back_as_they_were_logged(store: Store) -> None:
    logged = {1: math.nan, 2: math.inf, 3: -math.inf, 4: 0.5}
    client = MlflowClient(store.uri)
    run_id = client.create_run("0").info.run_id
    points = [Metric("loss", value, 1, step) for step, value in logged.items()]
    client.log_batch(run_id, metrics=points)
    query = select(metrics.c.step, metrics.c.value, metrics.c.is_nan).order_by(metrics.c.step)
    with opened(store.uri).connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    wrong = f"{MLFLOW} stores them otherwise; see suite.basics.mlflow_tables"
    stored = [(1, 0.0, True), (2, LARGEST, False), (3, -LARGEST, False), (4, 0.5, False)]
    assert rows == stored, wrong
    again = {step: restored(value, is_nan) for step, value, is_nan in rows}
    assert math.isnan(again.pop(1))
    assert again == {2: math.inf, 3: -math.inf, 4: 0.5}
    by_client = {p.step: p.value for p in client.get_metric_history(run_id, "loss")}
    assert math.isnan(by_client.pop(1)), f"{MLFLOW}: see analysis.store.server"
    assert {step: restored(value) for step, value in by_client.items()} == again


def test_a_run_still_tells_the_last_step_of_its_metrics(store: Store) -> None:
    client = MlflowClient(store.uri)
    run_id = client.create_run("0").info.run_id
    client.log_batch(run_id, metrics=[Metric("loss", 0.5, 7, step) for step in (1, 2)])
    (latest,) = client.get_run(run_id).data.to_proto().metrics
    found = (latest.key, latest.value, latest.timestamp, latest.step)
    assert found == ("loss", 0.5, 7, 2), f"{MLFLOW}: see {users('to_proto')}"


def test_mlflow_says_which_experiment_the_environment_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hasattr(fluent, "_get_experiment_id"), f"{MLFLOW}: see {users('_get_experiment_id')}"
    made = MlflowClient(store.uri).create_experiment("mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", made)
    assert Tracker("", store.uri).experiment_id == made
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert Tracker("", store.uri).experiment_id == made


def test_mlflow_says_who_began_a_run_and_from_where() -> None:
    assert {"mlflow.user", "mlflow.source.name"} <= resolve_tags().keys(), (
        f"{MLFLOW}: see {users('resolve_tags')}"
    )


def test_a_run_that_mlflow_run_has_begun_is_named_in_the_environment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MLFLOW_RUN_ID.name == VARIABLE, f"{MLFLOW}: see {users('MLFLOW_RUN_ID')}"
    mlflow.set_tracking_uri(store.uri)
    begun = MlflowClient(store.uri).create_run("0").info.run_id
    monkeypatch.setenv(VARIABLE, begun)
    with mlflow.start_run() as run:
        assert run.info.run_id == begun
    assert VARIABLE not in os.environ, f"{MLFLOW} leaves it; see suite.basics.project_run"


def test_tags_that_mlflow_understands_have_their_names() -> None:
    ours = (NAME_TAG, NOTE_TAG, PARENT_TAG)
    assert ours == (MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE, MLFLOW_PARENT_RUN_ID), (
        f"{MLFLOW}: see suite.declarations.tags"
    )


def test_a_batch_of_the_size_in_which_the_suite_logs_is_taken() -> None:
    sizes = (ENTITIES_PER_BATCH, ENTITIES_PER_BATCH, PARAMS_PER_BATCH, NAME_LIMIT)
    limits = (
        validation.MAX_ENTITIES_PER_BATCH,
        validation.MAX_METRICS_PER_BATCH,
        validation.MAX_PARAMS_TAGS_PER_BATCH,
        validation.MAX_ENTITY_KEY_LENGTH,
    )
    assert all(size <= limit for size, limit in zip(sizes, limits, strict=True)), (
        f"{MLFLOW} takes {limits}; see suite.tracking.runs, analysis.tracked"
    )


def test_a_request_of_our_own_to_a_server_takes_mlflows_credentials() -> None:
    asked = inspect.signature(rest_utils.http_request).parameters
    given = {"host_creds", "endpoint", "method", "raise_on_status"}
    assert given <= asked.keys(), f"{MLFLOW}: see {users('http_request')}"
    assert get_default_host_creds("http://h:5000").host == "http://h:5000"


@pytest.mark.slow
def test_a_server_gives_many_runs_histories_at_once() -> None:
    """Without it they are asked for run by run, with the same result in four times the time."""
    program = "from mlflow.server import app; print(*(r.rule for r in app.url_map.iter_rules()))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert bulk.ENDPOINT in done.stdout.split(), f"{MLFLOW}: see analysis.store.bulk"
