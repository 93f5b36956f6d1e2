"""What both sides ask of MLflow's client: its default store, all of a search, an experiment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000  # results in one answer


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
    artifact_location: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """The id of an experiment, which is created if it is not there.

    Several processes may ask at the same moment: one creates it, the others take it.

    Parameters
    ----------
    artifact_location, tags
        Of an experiment that is created; one that is there keeps its own.
    """
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location, tags=dict(tags or {})))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return experiment_id(client, name)  # another process was faster
