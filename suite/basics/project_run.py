"""The run which ``mlflow run`` has begun for the command that it started.

Its id is in an environment variable, which shells and notebooks keep, and which many tools set. So
only a run that looks as the runner leaves it may be taken, or removed as not needed; any other is
somebody's results.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from suite.basics.addresses import without_password
from suite.basics.errors import first_line
from suite.basics.mlflow_client import default_experiment_id
from suite.basics.server import is_server, no_answer
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import is_sqlite, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

VARIABLE = "MLFLOW_RUN_ID"
OWN_TAGS = "mlflow."  # what all of the runner's tags begin with


def project_run(tracking_uri: str, *, experiment: str | None = None) -> str:
    """The id of the run that ``mlflow run`` has begun for this process; '' without one.

    That another run is named is said in a line on stderr, and the variable is taken away, so that
    no later call of MLflow's takes the run after all.

    Parameters
    ----------
    tracking_uri
        Of the store.
    experiment
        Name of the experiment in which the run has to be; '' for MLflow's own default, None for
        any.
    """
    run_id = os.environ.get(VARIABLE, "")
    if not run_id:
        return ""
    reason = _reason_against(run_id, tracking_uri, experiment)
    if not reason:
        return run_id
    del os.environ[VARIABLE]
    print(
        f"{VARIABLE}: must be a run that `mlflow run` has just begun, got {run_id!r} ({reason}); "
        "ignored",
        file=sys.stderr,
    )
    return ""


def _reason_against(run_id: str, tracking_uri: str, experiment: str | None) -> str:
    """Why the run must not be taken; '' if it may be."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if reason := _no_store(tracking_uri):
        return reason
    client = MlflowClient(tracking_uri)
    try:
        run = client.get_run(run_id)
        return _used(run) or _elsewhere(run, client, experiment)
    except MlflowException as error:
        return without_password(first_line(error))


def _no_store(tracking_uri: str) -> str:
    """Why there is no store to look into, which MLflow would make, or wait for; '' if there is."""
    if is_server(tracking_uri):
        return without_password(no_answer(tracking_uri))
    if not is_sqlite(tracking_uri):
        return ""
    try:
        file = sqlite_file(tracking_uri)
    except ConfigError as error:
        return str(error)
    return "" if file.exists() else f"there is no {file}"


def _used(run: Run) -> str:
    """What shows that the run is not as the runner of ``mlflow run`` leaves it."""
    from mlflow.entities import LifecycleStage, SourceType
    from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_TYPE

    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        return "it is deleted"
    if run.info.status != "RUNNING":
        return f"it is {run.info.status}"
    if run.data.tags.get(MLFLOW_SOURCE_TYPE) != SourceType.to_string(SourceType.PROJECT):
        return "it is not of a project"
    if run.data.metrics or not all(tag.startswith(OWN_TAGS) for tag in run.data.tags):
        return "it holds results"
    return ""


def _elsewhere(run: Run, client: MlflowClient, experiment: str | None) -> str:
    if experiment is None:
        return ""
    if experiment:
        wanted = client.get_experiment_by_name(experiment)
        wanted_id = wanted and wanted.experiment_id
    else:
        wanted_id = default_experiment_id(client)
    if run.info.experiment_id == wanted_id:
        return ""
    return f"it is in the experiment {client.get_experiment(run.info.experiment_id).name!r}"
