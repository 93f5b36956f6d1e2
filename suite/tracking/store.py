"""MLflow's client of a store that exists, one name for the same store, and what waiting mends."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from suite.basics.addresses import SQLITE, is_postgresql
from suite.state.postgresql_leases import exclusively
from suite.tracking.queries import SQLITE_PATIENCE, prepare_sqlite

LONGEST_QUEUE = 600.0  # seconds for all that start at once, each of which takes one or two
PAUSE = 0.5
LOCKED = "database is locked"  # SQLite's words

T = TypeVar("T")

# Answers of MLflow that are the same however often one asks.
LASTING_ERRORS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED"}


def one_name(uri: str) -> str:
    """The same text for the same store, however a person writes it: leases depend on it."""
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).expanduser().resolve()}"
    return uri.rstrip("/")


def client_of(uri: str) -> MlflowClient:
    """A client whose store exists.

    Several processes that create one store at the same time break it for good, so one of
    them creates it while the others wait.
    """
    if is_postgresql(uri):
        with exclusively(uri, "create MLflow's tables"):
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
        return client
    if not uri.startswith(SQLITE):
        return MlflowClient(uri)
    path = Path(uri.removeprefix(SQLITE)).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)

    def open_it() -> MlflowClient:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        prepare_sqlite(uri)
        return client

    try:
        with FileLock(f"{path}.lock", timeout=LONGEST_QUEUE):
            return when_unlocked(path, open_it)
    except Timeout:
        raise locked(f"{path}.lock", LONGEST_QUEUE) from None


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
                raise locked(path, waited) from None
        time.sleep(PAUSE)


def locked(file: Path | str, seconds: float) -> TimeoutError:
    """The line for a file that another process does not let go of."""
    return TimeoutError(
        f"tracking_uri: must not be locked, got {file}, which another process has kept locked for "
        f"{seconds:.0f} s; end that process, or start again when it is done"
    )


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: a server that is away, a store that is locked."""
    if isinstance(error, MlflowException):
        return error.error_code not in LASTING_ERRORS
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)
