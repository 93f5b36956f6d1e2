"""What MLflow knows of finished runs, for many runs at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from suite.declarations.config import RunConfig
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES, EpochRecord
from suite.declarations.results import RunResult
from suite.declarations.tags import DIVERGED_TAG
from suite.tracking.queries import diverged, latest_values, points_of_runs
from suite.tracking.runs import Tracker


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
    marked = run.data.tags.get(DIVERGED_TAG) == "true"
    return RunResult(config, history.records(), _summary(run.data.metrics), marked)


def _from_database(connection: Connection, runs: Mapping[str, RunConfig]) -> dict[str, RunResult]:
    histories: defaultdict[str, History] = defaultdict(History)
    points = points_of_runs(connection, list(runs), EPOCH_METRIC_NAMES)
    for run_id, name, epoch, timestamp, value in points:
        histories[run_id].add(name, epoch, timestamp, value)
    latest = latest_values(connection, list(runs))
    marked = diverged(connection, list(runs))
    return {
        run_id: RunResult(
            config,
            histories[run_id].records(),
            _summary(latest.get(run_id, {})),
            run_id in marked,
        )
        for run_id, config in runs.items()
    }


def _summary(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: metrics[name] for name in SUMMARY_METRIC_NAMES if name in metrics}


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
