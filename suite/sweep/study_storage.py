"""The database of the Optuna studies: opened, made whole or not at all, and written by one a time.

Optuna makes its tables in several steps, so an SQLite file is made beside its place and appears
there when it is done. PostgreSQL has a step whole or not at all, and Optuna goes on from any of
them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import ArgumentError, OperationalError

from suite.basics.addresses import is_postgresql, refuse_password, without_password
from suite.basics.errors import first_line
from suite.basics.files import made_once
from suite.basics.locks import PATIENCE, locked
from suite.basics.mlflow_tables import latest_metrics
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import address_of, is_sqlite, sqlite_address, sqlite_file
from suite.basics.sqlite_store import SQLITE_PATIENCE
from suite.state import postgresql_leases
from suite.tracking.store import LOCKED, kept_locked

OWN = "e.g. sqlite:///optuna.db"
WORK = "writes the Optuna study"


def storage_address(storage: str) -> str:
    """One spelling of a storage's address; empty stays empty.

    Raises
    ------
    ConfigError
        If it carries a password, or names no file where it has to.
    """
    refuse_password("storage", storage)
    return sqlite_address(storage, "storage") if is_sqlite(storage) else storage


def open_storage(storage: str) -> BaseStorage:
    """Optuna's storage at an address of :func:`storage_address`; in memory if that is empty.

    Raises
    ------
    ConfigError
        If it is none, is MLflow's own database, or of another version of Optuna.
    ConnectionError
        If its file cannot be made.
    """
    if not storage:
        return InMemoryStorage()
    options: dict[str, Any] = {"pool_pre_ping": True}  # the server may have restarted meanwhile
    if is_sqlite(storage):
        options = {"connect_args": {"timeout": SQLITE_PATIENCE}}
    try:
        if is_sqlite(storage):
            _make_sqlite(sqlite_file(storage, "storage"))
        with exclusively(storage):  # two that create the tables at once would clash
            _refuse_mlflow(storage)
            return RDBStorage(storage, engine_kwargs=options)
    except (ArgumentError, ImportError) as error:
        raise _refused("be a database URL", storage, error, OWN) from None
    except RuntimeError as error:  # Optuna's word for a schema of another version
        upgrade = f"optuna storage upgrade --storage {without_password(storage)}"
        remedy = f"{upgrade}, or give another --storage"
        raise _refused("be of this version of Optuna", storage, error, remedy) from None


def exclusively(storage: str) -> AbstractContextManager[object]:
    """Keep other sweeps from the studies: those on all machines which a shared database has."""
    if not storage:
        return nullcontext()
    if is_postgresql(storage):
        return postgresql_leases.exclusively(storage, "write an Optuna study")
    return locked(_lock_path(storage), WORK, seconds=PATIENCE)


def _lock_path(storage: str) -> Path:
    if is_sqlite(storage):
        path = sqlite_file(storage, "storage")
        return path.with_name(f"{path.name}.lock")
    mark = hashlib.sha256(storage.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"optuna-{mark}.lock"


def _make_sqlite(path: Path) -> None:
    if path.exists():
        return
    try:
        with made_once(path) as scratch:
            RDBStorage(address_of(scratch)).engine.dispose()
    except OSError as error:
        raise ConnectionError(
            f"storage: must be where a file can be made, got {path} ({error.strerror}); {OWN}"
        ) from error


def _refuse_mlflow(storage: str) -> None:
    """See to it that a database is not MLflow's: each would take the other's version for its own.

    Raises
    ------
    ConfigError
        If it is.
    """
    engine = create_engine(storage)
    try:
        if inspect(engine).has_table(latest_metrics.name):
            raise ConfigError(
                f"storage: must be a database of its own, got {without_password(storage)}, which "
                f"is MLflow's; {OWN}"
            )
    finally:
        engine.dispose()


def _refused(rule: str, storage: str, error: Exception, remedy: str) -> ConfigError:
    shown = without_password(storage)
    return ConfigError(f"storage: must {rule}, got {shown!r} ({first_line(error)}); {remedy}")


@contextmanager
def plain_errors(storage: str) -> Iterator[None]:
    """Raise the database's own error where Optuna has wrapped it, and say what is locked.

    Raises
    ------
    TimeoutError
        If another process keeps the file locked.
    """
    try:
        yield
    except (StorageInternalError, OperationalError) as error:
        plain = error.__cause__ if isinstance(error, StorageInternalError) else error
        if LOCKED in str(plain):
            raise kept_locked("storage", storage, SQLITE_PATIENCE) from None
        raise plain or error from None
