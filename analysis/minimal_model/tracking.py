"""The minimal model's results as an MLflow run of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow

from analysis import tracked
from analysis.tracked import TrackingError
from suite.minimal_model import experiments

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EXPERIMENT", "TrackingError", "log_results", "metrics", "tracked_run"]

EXPERIMENT = "minimal_model"


def tracked_run(tracking_uri: str | None, seed: int) -> AbstractContextManager[str]:
    """`analysis.tracked.tracked_run` in the experiment `EXPERIMENT`, with seed and start as params.

    It yields the run's id.

    Raises
    ------
    TrackingError
        MLflow refuses the address or cannot open the store.
    """
    a, b = experiments.START
    return tracked.tracked_run(
        EXPERIMENT,
        experiment=EXPERIMENT,
        tracking_uri=tracking_uri,
        params={"seed": seed, "start_a": a, "start_b": b, "target": experiments.TARGET},
    )


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
