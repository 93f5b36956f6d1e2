"""MLflow's client of a store that exists, one name for the same store, and what waiting mends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import NullPool, create_engine, inspect
from sqlalchemy.exc import OperationalError

from suite.basics.addresses import is_postgresql, refuse_password
from suite.basics.errors import first_line
from suite.basics.server import await_server, is_server
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import is_sqlite, sqlite_address, sqlite_file
from suite.basics.sqlite_store import SQLITE_PATIENCE, provide
from suite.state.postgresql_leases import exclusively
from suite.tracking.queries import prepare_sqlite

PAUSE = 0.5
WORKSPACES = "MLFLOW_ENABLE_WORKSPACES"  # of MLflow, but not of every version that will do
LOCKED = "database is locked"  # SQLite's words

T = TypeVar("T")

# Answers of MLflow that are the same however often one asks.
LASTING_ERRORS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED"}


def one_name(uri: str) -> str:
    """The same text for the same store, however a person writes it.

    Raises
    ------
    ConfigError
        If the address carries a password, or names no file where it has to; or if MLflow's
        workspaces are switched on for a database that is opened directly.
    """
    refuse_password("tracking_uri", uri)
    _refuse_workspaces(uri)
    return sqlite_address(uri) if is_sqlite(uri) else uri.rstrip("/")


def _refuse_workspaces(uri: str) -> None:
    """A workspace is what a server keeps apart for a team: in it, nobody says where files go."""
    given = os.environ.get(WORKSPACES, "")
    if given.lower() in ("true", "1") and (is_sqlite(uri) or is_postgresql(uri)):
        raise ConfigError(
            f"{WORKSPACES}: must be off for a database that is opened directly, got {given} with "
            f"{uri}; unset it, or give the http address of an MLflow server that has workspaces"
        )


def client_of(uri: str) -> MlflowClient:
    """A client whose store exists, and answers.

    Several processes that create one store at the same time break it for good: in PostgreSQL one
    of them creates it while the others wait, and an SQLite file appears only when it is whole.

    Parameters
    ----------
    uri
        As :func:`one_name` gives it.

    Raises
    ------
    ConfigError
        If there is a file which is no store.
    ConnectionError
        If a server does not answer.
    """
    if is_sqlite(uri):
        provide(sqlite_file(uri))
        return when_unlocked(sqlite_file(uri), lambda: _with_our_index(uri))
    if is_server(uri):
        await_server(uri)
    if not is_postgresql(uri):
        return MlflowClient(uri)
    try:
        with exclusively(uri, "create MLflow's tables"):
            _refuse_others(uri)
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
    except OperationalError as error:
        raise ConnectionError(
            f"tracking_uri: PostgreSQL does not answer, got {uri} "
            f"({first_line(error.orig or error)}); see to it and start the command again"
        ) from error
    return client


def _with_our_index(uri: str) -> MlflowClient:
    prepare_sqlite(uri)
    return MlflowClient(uri)


def when_unlocked(path: Path, do: Callable[[], T]) -> T:
    """What a function gives that needs a SQLite file; while others lock it, it is tried again.

    Raises
    ------
    TimeoutError
        If they do so for a minute.
    """
    began = time.monotonic()
    while True:
        try:
            return do()
        except (OperationalError, MlflowException) as error:
            if LOCKED not in str(error):
                raise
            if (waited := time.monotonic() - began) >= SQLITE_PATIENCE:
                raise kept_locked("tracking_uri", path, waited) from None
        time.sleep(PAUSE)


def kept_locked(setting: str, file: Path | str, seconds: float) -> TimeoutError:
    """The line for a database file that another process does not let go of."""
    return TimeoutError(
        f"{setting}: must not be locked, got {file}, which another process has kept locked for "
        f"{seconds:.0f} s; end that process, or start again when it is done"
    )


def _refuse_others(uri: str) -> None:
    """See to it that a database is not one that another program, such as Optuna, upgrades.

    Raises
    ------
    ConfigError
        If it is: MLflow would take that program's version of the tables for its own.
    """
    engine = create_engine(uri, poolclass=NullPool)
    tables = set(inspect(engine).get_table_names())
    if "alembic_version" in tables and "experiments" not in tables:
        raise ConfigError(
            f"tracking_uri: must be a database for MLflow, got {uri}, which holds other tables "
            f"({', '.join(sorted(tables)[:3])}); give another one"
        )


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: a server that is away, a store that is locked."""
    if isinstance(error, MlflowException):
        return error.error_code not in LASTING_ERRORS
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)
