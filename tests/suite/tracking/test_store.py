"""A store: many processes on one SQLite file lose nothing, and which errors waiting may mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import OperationalError

from benchmarks.store_writers import measure
from suite.tracking.store import is_transient


@pytest.mark.slow
def test_eight_processes_that_write_to_one_new_store_lose_no_row(tmp_path: Path) -> None:
    report = measure(8, 60.0, tmp_path)
    assert report.lost == 0
    assert report.notices == []
    assert report.finished == sum(part.runs for part in report.written) > 0


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
