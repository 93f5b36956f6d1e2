"""What MLflow knows of finished runs, as much as a scoreboard shows, for many runs at once."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, TextClause, bindparam, text

from suite.declarations.metrics import SUMMARY_METRIC_NAMES
from suite.declarations.tags import DIVERGED_TAG
from suite.tracking.runs import Tracker

CURVE_METRIC = "val_accuracy"
LARGEST = sys.float_info.max  # what MLflow stores for infinity

# By run, not by name: SQLite would go through the rows of all runs of that name.
CURVES = (
    "SELECT run_uuid, step, value, is_nan FROM metrics "
    "WHERE run_uuid IN :runs AND key = :key ORDER BY timestamp"
)
SUMMARIES = "SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN :runs"
DIVERGED = "SELECT run_uuid FROM tags WHERE run_uuid IN :runs AND key = :key AND value = 'true'"


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
    metrics = run.data.metrics
    return Result(
        {point.step: point.value for point in sorted(points, key=lambda p: p.timestamp)},
        {name: metrics[name] for name in SUMMARY_METRIC_NAMES if name in metrics},
        run.data.tags.get(DIVERGED_TAG) == "true",
    )


def _from_database(connection: Connection, run_ids: Sequence[str]) -> dict[str, Result]:
    of_runs = {"runs": list(run_ids)}
    curves: defaultdict[str, dict[int, float]] = defaultdict(dict)
    rows = connection.execute(_many(CURVES), {**of_runs, "key": CURVE_METRIC})
    for run_id, step, value, is_nan in rows:
        curves[run_id][step] = _restored(value, is_nan)
    summaries: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for run_id, name, value, is_nan in connection.execute(_many(SUMMARIES), of_runs):
        if name in SUMMARY_METRIC_NAMES:
            summaries[run_id][name] = _restored(value, is_nan)
    rows = connection.execute(_many(DIVERGED), {**of_runs, "key": DIVERGED_TAG})
    diverged = {run_id for (run_id,) in rows}
    return {run: Result(curves[run], summaries[run], run in diverged) for run in run_ids}


def _many(query: str) -> TextClause:
    return text(query).bindparams(bindparam("runs", expanding=True))


def _restored(value: float, is_nan: bool) -> float:
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value
