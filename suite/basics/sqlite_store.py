"""An MLflow store in an SQLite file: made whole or not at all, and whether one is whole.

MLflow makes its tables in some thirty steps, each of which SQLite writes by itself. Killed in
between, it leaves a file that it refuses from then on; and two processes that make one file at once
break it, too. So the file is made beside its place and appears there when it is done.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from suite.basics.files import made_once
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import address_of

# An MLflow server that makes its own store takes a few seconds: a file that was changed so lately
# may still become whole, and is waited for.
MAKING_SECONDS = 10.0
BETWEEN_LOOKS = 0.2
SQLITE_PATIENCE = 60.0  # seconds to wait for another process's write
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def provide(path: Path) -> None:
    """Make a store if there is no file, and make sure that it is MLflow's and whole.

    Raises
    ------
    ConfigError
        If the file is no store, or one whose making was cut off.
    ConnectionError
        If it can be neither made nor read now.
    """
    if not path.exists():
        try:
            _make(path)
        except OSError as error:
            raise ConnectionError(
                f"tracking_uri: must be where a file can be made, got {path} ({error.strerror}); "
                "give another --tracking-uri"
            ) from error
    while not _is_whole(path):
        if time.time() - path.stat().st_mtime > MAKING_SECONDS:
            raise ConfigError(
                f"tracking_uri: must be a whole MLflow store, got {path}, in which MLflow was cut "
                "off before it had made its tables, so that it holds no run; remove that file"
            )
        time.sleep(BETWEEN_LOOKS)


def _make(path: Path) -> None:
    from mlflow import MlflowClient

    with made_once(path) as scratch:
        client = MlflowClient(address_of(scratch))
        client.search_experiments(max_results=1)  # makes the tables and the experiment `Default`
        client._tracking_client.store.engine.dispose()
        # Readers and a writer can work at once. It lasts, and switched later it would take the
        # file away from those who use it already.
        with closing(sqlite3.connect(scratch)) as database:
            database.execute("PRAGMA journal_mode=WAL")


def _is_whole(path: Path) -> bool:
    """Whether MLflow has come to its last step, which is to create the experiment `Default`.

    Raises
    ------
    ConfigError
        If the file is a database of something else, or none.
    ConnectionError
        If it cannot be read now.
    """
    address = f"file:{quote(str(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=SQLITE_PATIENCE)) as database:
            tables = {name for (name,) in database.execute(TABLES)}
            if "experiments" in tables:
                return database.execute("SELECT 1 FROM experiments").fetchone() is not None
    except sqlite3.OperationalError as error:
        raise ConnectionError(
            f"tracking_uri: {path} cannot be read ({error}); see to its permissions, its folder's, "
            "and to who may have it locked"
        ) from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"tracking_uri: must be an MLflow store, got {path} ({error}); give another file"
        ) from error
    if others := sorted(name for name in tables if not name.startswith("alembic_")):
        raise ConfigError(
            f"tracking_uri: must be an MLflow store, got {path}, which holds other tables "
            f"({', '.join(others[:3])}); give another file"
        )
    return False
