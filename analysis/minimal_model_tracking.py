"""The minimal model's results as an MLflow run of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from suite.minimal_model import experiments

if TYPE_CHECKING:
    from pandas import DataFrame

EXPERIMENT = "minimal_model"


class TrackingError(ValueError):
    """MLflow cannot be written to; the message is one line."""


@contextmanager
def tracked_run(tracking_uri: str | None, seed: int) -> Iterator[str]:
    """A RUNNING MLflow run for the results, ended FINISHED or, after an exception, FAILED.

    Inside ``mlflow run`` it is the run that was begun there; otherwise a new one of the experiment
    `EXPERIMENT`.

    Parameters
    ----------
    tracking_uri
        None takes MLflow's own default.
    seed
        Logged as a parameter.

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
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)
        if "MLFLOW_RUN_ID" not in os.environ:
            mlflow.set_experiment(EXPERIMENT)
        run = mlflow.start_run(run_name=EXPERIMENT, tags={"kind": EXPERIMENT})
    except MlflowException as problem:
        reason = str(problem).strip().splitlines()[0]
        raise TrackingError(
            f"--tracking-uri: an address that MLflow can write to, got "
            f"{tracking_uri or mlflow.get_tracking_uri()!r} ({reason}); "
            "try sqlite:///mlflow.db or the server's http address"
        ) from problem
    with run:
        a, b = experiments.START
        mlflow.log_params({"seed": seed, "start_a": a, "start_b": b, "target": experiments.TARGET})
        yield str(run.info.run_id)


def log_results(frames: Mapping[str, DataFrame], files: Sequence[Path]) -> None:
    """Log the numbers as metrics and the files as artifacts of the active run."""
    mlflow.log_metrics(metrics(frames))
    for file in files:
        mlflow.log_artifact(str(file))


def metrics(frames: Mapping[str, DataFrame]) -> dict[str, float]:
    """Final imbalances, exponents with standard errors, and collapse numbers, by metric name."""
    values: dict[str, float] = {}
    for end in frames["final_states"].to_dict("records"):
        values[f"final_imbalance/{end['trajectory']}/eta_{end['learning_rate']:g}"] = end[
            "imbalance"
        ]
    for fit in frames["exponents"].to_dict("records"):
        name = f"{fit['quantity']}/{fit['axis']}"
        values[f"exponent/{name}"] = fit["exponent"]
        values[f"exponent_standard_error/{name}"] = fit["standard_error"]
    for row in frames["collapse"].to_dict("records"):
        name = f"{row['experiment']}/{row['clock']}"
        values[f"collapse_spread/{name}"] = row["spread"]
        values[f"collapse_residual_share/{name}"] = row["residual_share"]
    return values
