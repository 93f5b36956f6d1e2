"""MLflow's client of a store that exists, one name for the same store, and what waiting mends."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from suite.basics.addresses import SQLITE, is_postgresql
from suite.state.postgresql_leases import exclusively
from suite.tracking.queries import prepare_sqlite

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
    with FileLock(f"{path}.lock"):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        prepare_sqlite(uri)
    return client


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: a server that is away, a store that is locked."""
    if isinstance(error, MlflowException):
        return error.error_code not in LASTING_ERRORS
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)
