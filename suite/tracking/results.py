"""What MLflow knows of finished runs, as much as a scoreboard shows, for many runs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from suite.declarations.metrics import SUMMARY_METRIC_NAMES
from suite.declarations.tags import DIVERGED_TAG
from suite.tracking.runs import Tracker
from suite.tracking.schema import curves, diverged, latest_values

CURVE_METRIC = "val_accuracy"


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes
    ----------
    curve
        val_accuracy by epoch.
    summary
        Summary metrics.
    """

    curve: Mapping[int, float]
    summary: Mapping[str, float]
    diverged: bool


def read_results(
    tracker: Tracker, engine: Engine | None, run_ids: Sequence[str]
) -> dict[str, Result]:
    """MLflow's id of each run to its result.

    Parameters
    ----------
    engine
        The store, where it is a database; a server is asked run by run.
    """
    if engine is None:
        return {run_id: _from_server(tracker, run_id) for run_id in run_ids}
    with engine.connect() as connection:
        return _from_database(connection, run_ids)


def _from_server(tracker: Tracker, run_id: str) -> Result:
    run = tracker.client.get_run(run_id)
    points = tracker.client.get_metric_history(run_id, CURVE_METRIC)
    return Result(
        {point.step: point.value for point in sorted(points, key=lambda p: p.timestamp)},
        _summary(run.data.metrics),
        run.data.tags.get(DIVERGED_TAG) == "true",
    )


def _from_database(connection: Connection, run_ids: Sequence[str]) -> dict[str, Result]:
    by_epoch = curves(connection, run_ids, CURVE_METRIC)
    latest = latest_values(connection, run_ids)
    marked = diverged(connection, run_ids)
    return {
        run: Result(by_epoch.get(run, {}), _summary(latest.get(run, {})), run in marked)
        for run in run_ids
    }


def _summary(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: metrics[name] for name in SUMMARY_METRIC_NAMES if name in metrics}
