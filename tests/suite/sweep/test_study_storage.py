"""The database of the studies: whole or not at all, Optuna's alone, and of this version of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow_stores import Store
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import Engine, create_engine

from suite.basics.settings import ConfigError
from suite.sweep import study_storage
from suite.sweep.study_storage import open_storage, storage_address


def close(storage: object) -> None:
    assert isinstance(storage, RDBStorage)
    storage.engine.dispose()


def test_every_spelling_of_a_file_is_one_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in ("sqlite:///o.db", "sqlite:///~/o.db", f"sqlite+pysqlite:///{tmp_path}/o.db"):
        assert storage_address(spelling) == f"sqlite:///{tmp_path}/o.db"
    assert storage_address("postgresql://h/d") == "postgresql://h/d"
    assert isinstance(open_storage(storage_address("")), InMemoryStorage)


def test_nothing_is_where_the_studies_will_be_until_the_tables_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(engine: Engine) -> None:
        create(engine)
        assert not path.exists()
        raise KeyboardInterrupt

    path, create = tmp_path / "new" / "optuna.db", models.BaseModel.metadata.create_all
    monkeypatch.setattr(models.BaseModel.metadata, "create_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_storage(f"sqlite:///{path}")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("tables", [1, 5, None])
def test_optuna_goes_on_from_tables_that_it_was_killed_while_making(
    tmp_path: Path, tables: int | None
) -> None:
    address = f"sqlite:///{tmp_path}/optuna.db"
    engine = create_engine(address)
    models.BaseModel.metadata.create_all(
        engine, tables=models.BaseModel.metadata.sorted_tables[:tables]
    )
    engine.dispose()
    storage = open_storage(address)
    assert storage.get_all_studies() == []
    close(storage)


def test_mlflows_own_database_is_refused_in_one_line_and_left_as_it_is(store: Store) -> None:
    before = store.rows("SELECT name FROM sqlite_master ORDER BY name")
    with pytest.raises(ConfigError) as refusal:
        open_storage(store.uri)
    line = str(refusal.value)
    assert line.startswith(f"storage: must be a database of its own, got {store.uri}, which is")
    assert "\n" not in line
    assert store.rows("SELECT name FROM sqlite_master ORDER BY name") == before


@pytest.mark.parametrize(("version", "remedy"), [("v2.6.0.a", "upgrade"), ("from-tomorrow", "-U")])
def test_a_study_of_another_optuna_is_refused_in_one_line(
    tmp_path: Path, version: str, remedy: str
) -> None:
    address = f"sqlite:///{tmp_path}/optuna.db"
    close(open_storage(address))
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [version])
    with pytest.raises(ConfigError) as refusal:
        open_storage(address)
    line = str(refusal.value)
    assert line.startswith(f"storage: must be of this version of Optuna, got '{address}' (")
    assert remedy in line
    assert "\n" not in line


def test_a_place_where_no_file_can_be_is_answered_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectionError, match="storage: must be where a file can be made, got"):
        open_storage(f"sqlite:///{tmp_path}/file/optuna.db")


def test_who_waits_for_the_study_is_told_that_a_sweep_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_storage, "PATIENCE", 0.0)
    address = f"sqlite:///{tmp_path}/optuna.db"
    with (
        study_storage.exclusively(address),
        pytest.raises(TimeoutError, match=r"optuna\.db\.lock: .*, which writes the Optuna study"),
        study_storage.exclusively(address),
    ):
        pass
