"""An analysis as an MLflow run of its own: what it looked at, its numbers and its files.

Such a run has no tag `fingerprint`, by which `analysis.store.frames` knows the suite's training
runs: in whichever experiment it is, it is never read as one, nor makes its experiment the newest of
a store.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from math import isfinite
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from analysis.store.frames import StoreError, open_store
from suite.basics.addresses import without_password
from suite.basics.code_version import code_version
from suite.basics.errors import first_line
from suite.basics.mlflow_client import default_uri, experiment_id
from suite.basics.project_run import VARIABLE, project_run
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import is_sqlite, sqlite_address, sqlite_file
from suite.basics.sqlite_store import provide
from suite.declarations.tags import CODE_VERSION_TAG

EXPERIMENT = "analysis"
KIND_TAG = "kind"
ANALYSED_TAG = "analysed_experiments"
NAME_LIMIT = 250  # MLflow's, of a metric's name
SPELLED = {"η": "eta", "λ": "lambda", "σ": "sigma", "β": "beta", "×": "x", "=": " "}


class TrackingError(ValueError):
    """MLflow cannot be written to; the message is one line."""


@contextmanager
def tracked_run(
    kind: str,
    *,
    experiment: str = EXPERIMENT,
    tracking_uri: str | None = None,
    name: str = "",
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A RUNNING MLflow run for results, ended FINISHED or, after an exception, FAILED.

    Inside ``mlflow run`` it is the run that was begun there; otherwise a new one.

    Parameters
    ----------
    kind
        What was done; its tag.
    experiment
        Where a new run goes; it is created if need be.
    tracking_uri
        None takes MLflow's own default.
    name
        Of the run; empty takes `kind`.
    params, tags
        Logged at once, beside the tags for kind and code version.

    Yields
    ------
    str
        The run's id.

    Raises
    ------
    TrackingError
        MLflow refuses the address or cannot open the store.
    """
    try:
        _use(mlflow.get_tracking_uri() if tracking_uri is None else tracking_uri)
        # `start_run` takes the run of the variable, if it is there, and the variable away.
        inside = bool(project_run(mlflow.get_tracking_uri()))
        run = mlflow.start_run(
            experiment_id=None if inside else _experiment_id(experiment),
            run_name=name or kind,
            tags={KIND_TAG: kind, CODE_VERSION_TAG: code_version(), **(tags or {})},
        )
    except ConfigError as problem:
        raise TrackingError(str(problem)) from problem
    except (MlflowException, SQLAlchemyError) as problem:
        raise TrackingError(
            f"--tracking-uri: an address that MLflow can write to, got "
            f"{without_password(mlflow.get_tracking_uri())!r} "
            f"({without_password(first_line(problem))}); "
            "try sqlite:///mlflow.db or the server's http address"
        ) from problem
    with run:
        mlflow.log_params(dict(params or {}), synchronous=True)
        yield str(run.info.run_id)


def _experiment_id(name: str) -> str:
    """The id of an experiment; it is created if need be, with its files where its store is."""
    return experiment_id(MlflowClient(), name)


def _use(tracking_uri: str) -> None:
    """Have MLflow write to a store; an SQLite file that is not there is made whole or not at all.

    Raises
    ------
    ConfigError
        If an SQLite address names no file that is, or could be, a store.
    """
    if is_sqlite(tracking_uri):
        provide(sqlite_file(tracking_uri))
        tracking_uri = sqlite_address(tracking_uri)
    if tracking_uri != mlflow.get_tracking_uri():
        mlflow.set_tracking_uri(tracking_uri)


def logged(
    kind: str,
    tracking_uri: str,
    *,
    experiments: Sequence[str],
    runs: int,
    metrics: Mapping[str, float],
    files: Mapping[str, Sequence[Path]],
    perturbed: Sequence[str] = (),
) -> bool:
    """Log an analysis to the store that was analysed, and say where, or in one line why not.

    What an analysis makes is in files already, so a store that is away, or read-only, costs a line
    on stderr and nothing else.

    Parameters
    ----------
    kind
        What was done; its tag.
    tracking_uri
        Of the store; empty takes MLflow's own default.
    experiments, runs
        What was analysed: names, and the number of runs.
    metrics
        By name; those that are not finite are left out, as MLflow does not tell them from numbers.
    files
        Artifact folder, "" for the top, to the files that go there.
    perturbed
        The settings whose memory the metrics are, where they are not σw's alone.

    Returns
    -------
    bool
        Whether all of it was logged.
    """
    names = ",".join(experiments)
    params: dict[str, object] = {"analysed_experiments": names, "analysed_runs": runs}
    if perturbed:
        params["perturbed_settings"] = ",".join(perturbed)
    begun = os.environ.get(VARIABLE)
    try:
        # MLflow's client itself would try for minutes to reach a server that has gone away.
        with closing(open_store(tracking_uri or default_uri())) as backend:
            if not backend.is_mlflow:
                return _not_logged(f"{backend.address} holds exported runs, and is no MLflow store")
        with tracked_run(
            kind,
            tracking_uri=tracking_uri or None,
            name=f"{kind} {names}",
            params=params,
            tags={ANALYSED_TAG: names},
        ) as run_id:
            finite = {key: value for key, value in metrics.items() if isfinite(value)}
            mlflow.log_metrics(finite, synchronous=True)
            for folder, paths in files.items():
                for path in paths:
                    mlflow.log_artifact(str(path), folder or None)
    except (TrackingError, StoreError) as problem:
        return _not_logged(str(problem))
    except Exception as problem:
        # Whatever holds the artifacts (S3, GCS, a plugin) raises errors of its own libraries.
        return _not_logged(f"{type(problem).__name__}: {without_password(first_line(problem))}")
    where = "" if run_id == begun else f" of the experiment {EXPERIMENT}"
    print(f"logged to MLflow as run {run_id}{where}")
    return True


def _not_logged(reason: str) -> bool:
    print(f"not logged to MLflow: {reason}", file=sys.stderr)
    return False


def metric_name(*parts: str) -> str:
    """Words such as a recipe's label as the name of a metric, which MLflow wants in ASCII."""
    return "/".join(_in_ascii(part) for part in parts)[:NAME_LIMIT]


def _in_ascii(text: str) -> str:
    for symbol, word in SPELLED.items():
        text = text.replace(symbol, word)
    return re.sub(r"[^A-Za-z0-9_\-. :]+", "_", text).strip(". ") or "_"
