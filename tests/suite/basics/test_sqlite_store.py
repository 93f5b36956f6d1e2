"""An MLflow store in an SQLite file: there as a whole or not at all, and nothing else is taken."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
from mlflow_stores import made_store
from optuna.storages import RDBStorage
from sqlalchemy import Engine, create_engine

from suite.basics import sqlite_store
from suite.basics.settings import ConfigError
from suite.basics.sqlite_store import provide


def cut_off(path: Path) -> Path:
    """A file in which MLflow was killed before it came to its second step."""
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()
    os.utime(path, (0, 0))
    return path


def refusal(path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(ConfigError) as refused:
        provide(path)
    assert path.read_bytes() == before
    line = str(refused.value)
    assert line.startswith("tracking_uri: must be ")
    assert str(path) in line
    assert "\n" not in line
    return line


def test_nothing_is_where_the_store_will_be_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(engine: Engine) -> None:
        Base.metadata.create_all(engine)
        assert not path.exists()
        raise KeyboardInterrupt

    path = tmp_path / "new" / "mlflow.db"
    monkeypatch.setattr(utils, "_initialize_tables", interrupted)
    with pytest.raises(KeyboardInterrupt):
        provide(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.slow
def test_a_kill_at_any_moment_of_its_making_leaves_a_store_or_none(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    for tenths in range(1, 30, 4):
        child = os.fork()
        if child == 0:
            provide(path)
            os._exit(0)
        time.sleep(tenths / 10)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not path.exists() or sqlite_store._is_whole(path)
        path.unlink(missing_ok=True)
    provide(path)
    assert sqlite_store._is_whole(path)


def test_a_store_that_an_earlier_version_left_half_made_is_named_with_what_to_do(
    tmp_path: Path,
) -> None:
    line = refusal(cut_off(tmp_path / "mlflow.db"))
    assert line.endswith("it holds no run; remove that file")
    (tmp_path / "empty.db").touch()
    os.utime(tmp_path / "empty.db", (0, 0))
    assert refusal(tmp_path / "empty.db").endswith("it holds no run; remove that file")


def test_a_store_that_another_program_makes_at_this_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cut_off(tmp_path / "mlflow.db")
    os.utime(path)
    monkeypatch.setattr(time, "sleep", lambda _seconds: shutil.copyfile(made_store(), path))
    provide(path)


def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    RDBStorage(f"sqlite:///{tmp_path}/optuna.db").engine.dispose()
    assert "which holds other tables (studies" in refusal(tmp_path / "optuna.db")
    (tmp_path / "text").write_text("not a database, " * 100)
    assert "file is not a database" in refusal(tmp_path / "text")


def test_a_place_where_no_file_can_be_is_answered_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ConnectionError, match="tracking_uri: must be where a file can be made, got"
    ):
        provide(tmp_path / "file" / "mlflow.db")


def test_a_new_store_lets_readers_and_a_writer_work_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(engine: Engine) -> None:
        shutil.copyfile(made_store(), str(engine.url.database))

    monkeypatch.setattr(utils, "_initialize_tables", copied)
    provide(tmp_path / "mlflow.db")
    assert all(path.name.startswith("mlflow.db") for path in tmp_path.iterdir())
    database = sqlite3.connect(tmp_path / "mlflow.db")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
