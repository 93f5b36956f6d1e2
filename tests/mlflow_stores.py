"""An MLflow store of a test's own, and what SQL sees in it."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


@dataclass(frozen=True)
class Store:
    """An MLflow store in a SQLite file, with the eyes of SQL."""

    path: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.path}"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def execute(self, statement: str, *values: Any) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def statuses(self) -> dict[str, str]:
        """Id to status of all runs which are not deleted."""
        return dict(self.rows("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"))

    def history(self, run_id: str) -> list[tuple[str, int, float]]:
        """Every row of a run's per-epoch metrics: (name, epoch, value), sorted."""
        return self.rows(
            "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND step > 0"
            " ORDER BY key, step, value",
            run_id,
        )

    def tags(self, run_id: str) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM tags WHERE run_uuid = ?", run_id))

    def params(self, run_id: str) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM params WHERE run_uuid = ?", run_id))

    def latest(self, run_id: str) -> dict[str, float]:
        return dict(self.rows("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", run_id))


@cache
def made_store() -> Path:
    """An SQLite file in which MLflow has made its tables: seconds, so once for all tests.

    It is not to be changed.
    """
    from mlflow import MlflowClient

    path = Path(mkdtemp()) / "mlflow.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def new_store(empty_store: Path, folder: Path) -> Store:
    """A store in `folder`, whose artifacts lie there too."""
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / "mlflow.db")
    source, target = sqlite3.connect(empty_store), sqlite3.connect(store.path)
    source.backup(target)
    target.execute("UPDATE experiments SET artifact_location = ?", [str(folder / "mlruns" / "0")])
    target.commit()
    source.close()
    target.close()
    return store
