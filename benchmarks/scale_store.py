"""Stores of any number of finished runs without their histories: what a grid's size alone costs.

MLflow makes its own tables; the rows go in by SQL, some 100 times faster than through its client,
which is held to write the same rows by a test.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, create_engine, inspect, text

from benchmarks.study_rows import insert_trials
from benchmarks.synthetic_rows import FIRST_START, TABLES, Row, insert
from suite.basics.mlflow_tables import latest_metrics, metrics, params, runs, tags
from suite.basics.waiting import with_progress
from suite.declarations.attempts import ATTEMPT_TAG
from suite.declarations.config import RunConfig
from suite.declarations.experiment_files import changed
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import SUMMARY_METRIC_NAMES, EpochRecord
from suite.declarations.paper_experiments import PAPER_SEEDS
from suite.declarations.results import RunResult
from suite.declarations.tags import (
    CONFIG_TAG,
    DEVICE_TAG,
    DIVERGED_TAG,
    FINGERPRINT_TAG,
    IMAGE_COUNTS,
    NAME_TAG,
    STATE_TAG,
)
from suite.sweep.study import Scoreboard
from suite.tracking.metadata import machine_tags
from suite.tracking.runs import Tracker

NAME = "scale"
POINTS_PER_SEED = EXPERIMENTS["main"].size // len(PAPER_SEEDS)
RUNS_AT_ONCE = 1000
CACHE_KILOBYTES = 3_000_000  # random keys go into indexes of gigabytes
RUN_MILLISECONDS = 60_000
IMAGES = dict(zip(IMAGE_COUNTS, ("40000", "10000", "10000"), strict=True))


def grid(points: int) -> Experiment:
    """The main grid with more or fewer seeds; `points` is a multiple of `POINTS_PER_SEED`."""
    if points % POINTS_PER_SEED:
        raise ValueError(f"points: must be a multiple of {POINTS_PER_SEED}, got {points}")
    main = EXPERIMENTS["main"]
    axes = changed(main, "seed", list(range(points // POINTS_PER_SEED)), axis=True).axes
    return Experiment(NAME, main.description, main.source, axes, main.fixed)


def fill(uri: str, storage: str, experiment: Experiment) -> None:
    """Add to MLflow a FINISHED run, and to Optuna a trial, for each point of an experiment."""
    tracker = Tracker(NAME, uri)
    board = Scoreboard(experiment, storage)
    ids = np.random.default_rng(0)
    engine, study_engine = create_engine(uri), create_engine(storage)
    points = with_progress(experiment.points(), experiment.size, "writing the store")
    with engine.begin() as connection, _quick(connection):
        for part in _parts(enumerate(points), RUNS_AT_ONCE):
            rows: dict[Table, list[Row]] = {table: [] for table in TABLES}
            finished = []
            for index, point in part:
                config = experiment.config(point)
                run_id = uuid.UUID(bytes=ids.bytes(16), version=4).hex
                for table, more in _run(run_id, config, index, int(tracker.experiment_id)):
                    rows[table] += more
                history = [EpochRecord(1, 1, *[0.5] * 6)]
                result = RunResult(config, history, summary(index), diverged=False)
                finished.append((point, run_id, result))
            for table, new in rows.items():
                insert(connection, table, new)
            insert_trials(study_engine, board.study.study_name, [board.trial(*f) for f in finished])
    study_engine.dispose()
    engine.dispose()


def _run(
    run_id: str, config: RunConfig, index: int, experiment_id: int
) -> Iterator[tuple[Table, list[Row]]]:
    """The rows of one run, by table."""
    start = FIRST_START + index * RUN_MILLISECONDS
    end = start + RUN_MILLISECONDS
    name = config.run_name
    ours = (run_id, name, "LOCAL", NAME, "FINISHED", start, end, "active", experiment_id, "")
    yield runs, [ours]
    points: list[Row] = [(key, v, end, run_id, 0, False) for key, v in summary(index).items()]
    yield metrics, points
    yield latest_metrics, points
    settings = config.parameters() | IMAGES
    yield params, [(key, value, run_id) for key, value in settings.items()]
    said = {
        FINGERPRINT_TAG: config.fingerprint,
        CONFIG_TAG: config.model_dump_json(),
        STATE_TAG: "finished",
        DIVERGED_TAG: "false",
        DEVICE_TAG: "cpu",
        NAME_TAG: name,
        ATTEMPT_TAG: "1",
        **machine_tags(),
    }
    yield tags, [(key, value, run_id) for key, value in said.items()]


def summary(index: int) -> dict[str, float]:
    """Made-up summary metrics of a run of which no epoch was logged."""
    values = {name: float(index % 97) / 97 for name in SUMMARY_METRIC_NAMES}
    return values | {"epochs_trained": 0.0, "best_epoch": 0.0}


@contextmanager
def _quick(connection: Connection) -> Iterator[None]:
    """Rebuild SQLite's secondary indexes once at the end instead of row by row."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KILOBYTES}")
    look = inspect(connection)
    names = {index["name"] for table in TABLES for index in look.get_indexes(table.name)}
    found = text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    definitions = {n: sql for n, sql in connection.execute(found).all() if n in names}
    for name in definitions:
        connection.execute(text(f"DROP INDEX {name}"))
    yield
    for definition in definitions.values():
        connection.execute(text(definition))


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """As itertools.batched, which Python 3.11 lacks."""
    source = iter(items)
    while part := list(itertools.islice(source, size)):
        yield part
