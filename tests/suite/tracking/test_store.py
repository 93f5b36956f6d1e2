"""A store: many processes on one SQLite file lose nothing, and which errors waiting may mend."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from benchmarks.store_writers import measure
from suite.tracking import store
from suite.tracking.store import is_transient


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
