"""What MLflow knows of finished runs, for many runs at once."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, TextClause, bindparam, text

from suite.declarations.config import RunConfig
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES, EpochRecord
from suite.declarations.results import RunResult
from suite.tracking.descriptions import DIVERGED_TAG
from suite.tracking.runs import Tracker

LARGEST = sys.float_info.max  # what MLflow stores for infinity

# By run, not by name: SQLite would go through the rows of all runs of that name.
POINTS = (
    "SELECT run_uuid, key, step, timestamp, value, is_nan FROM metrics "
    "WHERE run_uuid IN :runs AND key IN :keys"
)
SUMMARIES = "SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN :runs"
DIVERGED = "SELECT run_uuid FROM tags WHERE run_uuid IN :runs AND key = :key AND value = 'true'"


def read_results(
    tracker: Tracker, engine: Engine | None, runs: Mapping[str, RunConfig]
) -> dict[str, RunResult]:
    """MLflow's id of each run to its result.

    Parameters
    ----------
    engine
        The store, where it is a database; a server is asked run by run.
    runs
        MLflow's id to the settings of the run.
    """
    if engine is None:
        return {run_id: _from_server(tracker, run_id, config) for run_id, config in runs.items()}
    with engine.connect() as connection:
        return _from_database(connection, runs)


def _from_server(tracker: Tracker, run_id: str, config: RunConfig) -> RunResult:
    run = tracker.client.get_run(run_id)
    history = History()
    for name in EPOCH_METRIC_NAMES:
        for point in tracker.client.get_metric_history(run_id, name):
            history.add(name, point.step, point.timestamp, point.value)
    metrics = run.data.metrics
    summary = {name: metrics[name] for name in SUMMARY_METRIC_NAMES if name in metrics}
    diverged = run.data.tags.get(DIVERGED_TAG) == "true"
    return RunResult(config, history.records(), summary, diverged)


def _from_database(connection: Connection, runs: Mapping[str, RunConfig]) -> dict[str, RunResult]:
    of_runs = {"runs": list(runs)}
    histories: defaultdict[str, History] = defaultdict(History)
    rows = connection.execute(_many(POINTS), {**of_runs, "keys": list(EPOCH_METRIC_NAMES)})
    for run_id, name, epoch, timestamp, value, is_nan in rows:
        histories[run_id].add(name, epoch, timestamp, _restored(value, is_nan))
    summaries: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for run_id, name, value, is_nan in connection.execute(_many(SUMMARIES), of_runs):
        if name in SUMMARY_METRIC_NAMES:
            summaries[run_id][name] = _restored(value, is_nan)
    rows = connection.execute(_many(DIVERGED), {**of_runs, "key": DIVERGED_TAG})
    diverged = {run_id for (run_id,) in rows}
    return {
        run_id: RunResult(
            config, histories[run_id].records(), summaries[run_id], run_id in diverged
        )
        for run_id, config in runs.items()
    }


class History:
    """One run's epochs, put together from single points in any order."""

    def __init__(self) -> None:
        self._points: dict[int, dict[str, tuple[int, float]]] = {}

    def add(self, name: str, epoch: int, timestamp: int, value: float) -> None:
        """Take in a point; of two for one metric and epoch the later one counts."""
        points = self._points.setdefault(epoch, {})
        points[name] = max(points.get(name, (timestamp, value)), (timestamp, value))

    def records(self) -> list[EpochRecord]:
        """The epochs that have all their metrics, in order."""
        return [
            EpochRecord(
                epoch=epoch,
                timestamp=next(iter(points.values()))[0],
                **{name: value for name, (_, value) in points.items()},
            )
            for epoch, points in sorted(self._points.items())
            if points.keys() == set(EPOCH_METRIC_NAMES)
        ]


def _many(query: str) -> TextClause:
    names = [name for name in ("runs", "keys") if f":{name}" in query]
    return text(query).bindparams(*(bindparam(name, expanding=True) for name in names))


def _restored(value: float, is_nan: bool) -> float:
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value
