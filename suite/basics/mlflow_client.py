"""What both sides ask of MLflow's client: its default store, all of a search, an experiment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from suite.basics.errors import first_line
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import is_sqlite, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

PAGE = 1000  # results in one answer
NAME_VARIABLE, ID_VARIABLE = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
# MLflow's answers that there is no such experiment, which are no fault of the store.
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def default_uri() -> str:
    """The address of the store that MLflow takes by itself.

    It is that of `mlflow.set_tracking_uri`, else of MLFLOW_TRACKING_URI, else a file. MLflow says
    so itself, but importing it takes seconds. Where nothing has imported it, nothing can have set
    another address, so the variable decides alone.
    """
    if "mlflow" not in sys.modules and (uri := os.environ.get("MLFLOW_TRACKING_URI")):
        return uri
    import mlflow

    return str(mlflow.get_tracking_uri())


def every_page(search: Callable[..., Any], **asked: Any) -> Iterator[Any]:
    """All results of a search, such as `MlflowClient.search_runs`, of which MLflow gives pages.

    MLflow has a helper of its own, which is not documented, and which keeps all results in memory:
    12 kB a run. Here they come one by one, a page at a time.

    Parameters
    ----------
    search
        A method of the client.
    asked
        Its other arguments.
    """
    token = None
    while True:
        answer = search(max_results=PAGE, page_token=token, **asked)
        yield from answer
        token = answer.token
        if not token:
            return


def experiment_id(
    client: MlflowClient,
    name: str,
    *,
    tags: Mapping[str, str] | None = None,
) -> str:
    """The id of an experiment, which is created if it is not there.

    Several processes may ask at the same moment: one creates it, the others take it.

    Parameters
    ----------
    tags
        Of an experiment that is created; one that is there keeps its own.

    Raises
    ------
    ConfigError
        If it is deleted: MLflow lets nobody write there, and gives its name to no other one.
    """
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return _unless_deleted(found, "experiment")
    place = artifacts_beside(client.tracking_uri, name)
    try:
        return str(client.create_experiment(name, place, tags=dict(tags or {})))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return experiment_id(client, name)  # another process was faster


def default_experiment_id(client: MlflowClient) -> str:
    """The id of the experiment that MLflow takes by itself, which two variables set.

    One that is named is created if it is not there, as MLflow does it.

    Raises
    ------
    ConfigError
        If a variable names one that is not there or is deleted, or both name different ones.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(client.tracking_uri)
    by = next((name for name in (NAME_VARIABLE, ID_VARIABLE) if name in os.environ), "")
    try:
        if name := os.environ.get(NAME_VARIABLE):
            experiment_id(client, name)  # so that its files lie beside the store
        number = str(mlflow.tracking.fluent._get_experiment_id())
    except MlflowException as error:
        # MLflow says of a server that is away, too, that the experiment is not there.
        reason = error.__cause__ if isinstance(error.__cause__, MlflowException) else error
        if not by or reason.error_code not in NOT_THERE:
            raise reason from None
        raise ConfigError(
            f"{by}: must be that of an experiment in the store, got {os.environ[by]!r} "
            f"({first_line(reason)}); unset it, or give --experiment"
        ) from None
    return _unless_deleted(client.get_experiment(number), by or "experiment")


def _unless_deleted(found: Experiment, field: str) -> str:
    number = str(found.experiment_id)
    if found.lifecycle_stage == "deleted":
        raise ConfigError(
            f"{field}: must not be a deleted experiment, got {found.name!r}; "
            f"mlflow experiments restore --experiment-id {number}, or name another one"
        )
    return number


def artifacts_beside(tracking_uri: str, experiment: str) -> str | None:
    """Where the files of a new experiment's runs go: for a SQLite file, to a folder beside it.

    MLflow would put them below the working directory, wherever the store is. None leaves it to
    the store, as a server has a place of its own.
    """
    if not is_sqlite(tracking_uri):
        return None
    folder = re.sub(r"[^\w.-]+", "-", experiment).strip(".") or "experiment"
    return (sqlite_file(tracking_uri).parent / "mlruns" / folder).as_uri()
