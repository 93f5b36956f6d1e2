"""What all tests share: MLflow stores of their own, and no trace of the person's settings."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_stores import Store, made_store, new_store
from postgresql_server import PostgresqlServer

# Read when MLflow is imported; tests call nobody.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
PERSONAL = ("MLFLOW_", "SUITE_", "_MLFLOW_")
for _name in [n for n in os.environ if n.startswith(PERSONAL)]:
    if _name != "MLFLOW_DISABLE_TELEMETRY":
        del os.environ[_name]


def pytest_collection_finish() -> None:
    """Take what was imported for no garbage: looking through it takes half a second a time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_address_outlives_its_test() -> Iterator[None]:
    """Forget the store that a test chose: MLflow leaves it in the environment of the next."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store as the suite makes it."""
    from suite.tracking.runs import Tracker

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    shutil.copyfile(made_store(), path)
    Tracker("Default", f"sqlite:///{path}")
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty MLflow store in the working directory, which is the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return new_store(empty_store, tmp_path)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A real PostgreSQL, once for all tests."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> str:
    """The URL of an empty database of the test's own."""
    return postgresql_server.new_database()
