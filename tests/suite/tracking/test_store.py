"""A store: many processes on one SQLite file lose nothing, and which errors waiting may mend."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow_stores import Store
from optuna.storages import RDBStorage
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from benchmarks.store_writers import measure
from suite.basics import server
from suite.basics.settings import ConfigError
from suite.state.workspace import Workspace
from suite.tracking import store
from suite.tracking.runs import Tracker
from suite.tracking.store import is_transient


def test_every_spelling_of_a_file_is_one_store_with_the_same_experiments(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.db").symlink_to("mlflow.db")
    monkeypatch.setenv("HOME", str(tmp_path))
    trackers = [
        Tracker("Default", spelling)
        for spelling in (
            store.uri,
            f"{store.uri}?timeout=60",
            "sqlite:///mlflow.db",
            "sqlite+pysqlite:///link.db",
            "sqlite:///~/mlflow.db",
        )
    ]
    assert len({tracker.place for tracker in trackers}) == 1
    assert sorted({tracker.uri for tracker in trackers}) == [store.uri, f"{store.uri}?timeout=60"]


def test_what_an_experiment_is_known_by_outlives_its_name(store: Store) -> None:
    before = Tracker("before", store.uri)
    before.client.rename_experiment(before.experiment_id, "after")
    after = Tracker("after", store.uri)
    assert after.place == before.place
    assert after.place in after.places()
    assert len(set(after.places())) == 2  # Default is there, too


@pytest.mark.parametrize("name", ["", "x" * 247, "σ" * 124, "a/b", "../up"])
def test_an_experiment_of_any_name_has_a_folder_for_its_state(
    store: Store, tmp_path: Path, name: str
) -> None:
    tracker = Tracker(name, store.uri)
    place = Workspace(tmp_path / "state", tracker.place)
    assert place.take_lease("0" * 16) is not None
    assert Path(place.folder).parent == tmp_path / "state"


@pytest.mark.parametrize("given", ["true", "1"])
def test_workspaces_of_mlflow_are_for_servers_not_for_a_database(
    store: Store, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", given)
    line = f"MLFLOW_ENABLE_WORKSPACES: must be off for a database .*, got {given} with sqlite"
    with pytest.raises(ConfigError, match=line):
        Tracker("sweep", store.uri)


def test_a_server_that_stays_away_is_given_up_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.0)
    with pytest.raises(ConnectionError, match="tracking_uri: no server answers, got http://127"):
        Tracker("sweep", "http://127.0.0.1:1")


@pytest.mark.slow
def test_a_database_of_optuna_is_not_taken_for_mlflows(postgresql: str) -> None:
    RDBStorage(postgresql).engine.dispose()
    with pytest.raises(ConfigError, match="tracking_uri: must be a database for MLflow") as refusal:
        Tracker("sweep", postgresql)
    assert "studies" in str(refusal.value)


@pytest.mark.slow
def test_mlflow_goes_on_from_tables_that_it_was_killed_while_making_in_postgresql(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = command.upgrade

    def cut_off(config: Any, revision: str) -> None:
        original(config, "+20")  # steps of one transaction, which the server then takes back
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", cut_off)
        with pytest.raises(KeyboardInterrupt):
            Tracker("sweep", postgresql)
    assert Tracker("sweep", postgresql).experiment_name == "sweep"


@pytest.mark.slow
def test_eight_processes_that_write_to_one_new_store_lose_no_row(tmp_path: Path) -> None:
    report = measure(8, 60.0, tmp_path)
    assert report.lost == 0
    assert report.notices == []
    assert report.finished == sum(part.runs for part in report.written) > 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds; sleeping lets it pass."""
    now = [0.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(store.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


def write_beside_a_lock(path: Path) -> str:
    """Write into a SQLite file which another connection holds, without waiting for it."""
    with closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN EXCLUSIVE")
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": 0})
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (x)"))
    return "written"


def test_a_store_that_stays_locked_is_one_line_with_how_long_was_waited(
    tmp_path: Path, clock: list[float]
) -> None:
    path = tmp_path / "mlflow.db"
    with pytest.raises(TimeoutError, match=r"must not be locked, got .*mlflow.db.* for 60 s; end"):
        store.when_unlocked(path, lambda: write_beside_a_lock(path))
    assert clock == [60.0]


def test_a_store_that_is_let_go_in_time_is_opened(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "mlflow.db"

    def write() -> str:
        return write_beside_a_lock(path) if clock[0] < 20 else "written"

    assert store.when_unlocked(path, write) == "written"
    assert clock == [20.0]


def test_another_error_of_a_store_is_not_waited_for(clock: list[float]) -> None:
    def fail() -> None:
        raise OperationalError("SELECT 1", {}, Exception("no such table: runs"))

    with pytest.raises(OperationalError, match="no such table"):
        store.when_unlocked(Path("mlflow.db"), fail)
    assert clock == [0.0]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (MlflowException("no answer\nat all", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("API request failed"), True),
        (OperationalError("SELECT 1", {}, Exception("database is locked")), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (MlflowException("run is deleted", INVALID_PARAMETER_VALUE), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("x"), False),
    ],
)
def test_which_errors_waiting_may_mend(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes
