"""What MLflow holds of a finished run, brought back as files."""

from __future__ import annotations

from pathlib import Path

import mlflow

from suite.basics.mlflow_client import default_uri
from suite.basics.sqlite_address import is_sqlite, sqlite_file
from suite.basics.sqlite_store import provide
from suite.declarations.predictions import BEST_ARTIFACT
from suite.tracking.store import one_name


def download_best(run_id: str, target: Path, tracking_uri: str = "") -> Path:
    """The folder below `target` with the files of a run's best checkpoint."""
    uri = one_name(tracking_uri or default_uri())
    if is_sqlite(uri):
        provide(sqlite_file(uri))  # else MLflow makes it, and that may be cut off
    path = mlflow.artifacts.download_artifacts(
        run_id=run_id,
        artifact_path=BEST_ARTIFACT,
        dst_path=str(target),
        tracking_uri=uri,
    )
    return Path(path)
