"""The rows of MLflow's tables for synthetic runs, and writing them by SQL."""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table

from benchmarks.synthetic_truth import (
    EPOCH_MILLISECONDS,
    TEST_IMAGES,
    SyntheticRun,
    Truth,
    train_images,
    validation_images,
)
from suite.basics.mlflow_tables import LARGEST, latest_metrics, metrics, params, runs, tags
from suite.declarations.attempts import ATTEMPT_TAG
from suite.declarations.config import RunConfig
from suite.declarations.layers import layers_tags
from suite.declarations.metrics import EPOCH_METRIC_NAMES
from suite.declarations.tags import (
    CONFIG_TAG,
    DEVICE_TAG,
    DIVERGED_TAG,
    FINGERPRINT_TAG,
    IMAGE_COUNTS,
    NAME_TAG,
    STATE_TAG,
)

FIRST_START = 1_767_225_600_000  # 2026-01-01, in milliseconds
FLEET = 25  # runs that train side by side, and whose rows therefore lie mixed
UNFINISHED = ("RUNNING", "KILLED", "FAILED")
TABLES = (runs, metrics, latest_metrics, params, tags)

Row = tuple[Any, ...]  # values in the order of the table's columns


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add rows to a table, past the checks and conversions by which SQLAlchemy takes its time."""
    if not rows:
        return
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = ", ".join([mark] * len(table.columns))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", list(rows))


class RowWriter:
    """Writes the runs of synthetic configurations, fleet by fleet, as MLflow would hold them.

    Parameters
    ----------
    connection
        To a store that MLflow made.
    experiment_id
        MLflow's.
    truth
        The curves.
    by_fault
        Field name of `Faults` to the configurations it befell.
    extra_metrics
        Metrics per epoch besides the suite's.
    first_run
        How many runs the store has already.
    """

    def __init__(
        self,
        connection: Connection,
        experiment_id: int,
        truth: Truth,
        by_fault: Mapping[str, Sequence[RunConfig]],
        *,
        extra_metrics: int,
        first_run: int,
    ) -> None:
        self.connection, self.experiment_id = connection, experiment_id
        self.truth, self.extra_metrics = truth, extra_metrics
        self.ids = np.random.default_rng([truth.seed, first_run])
        self.first_run = first_run
        self.faults = {
            config.fingerprint: fault for fault, befallen in by_fault.items() for config in befallen
        }
        self.unfinished_so_far = 0

    def write(self, configs: Sequence[RunConfig]) -> None:
        """Add their runs."""
        for start in range(0, len(configs), FLEET):
            at = FIRST_START + (self.first_run + start) * 10_000
            rows: dict[Table, list[Row]] = {table: [] for table in TABLES}
            for config in configs[start : start + FLEET]:
                for table, more in self._rows_of(config, at):
                    rows[table] += more
            rows[metrics].sort(key=lambda row: row[2])  # as a fleet logs: epoch by epoch
            for table, new in rows.items():
                insert(self.connection, table, new)

    def _rows_of(self, config: RunConfig, start: int) -> Iterator[tuple[Table, list[Row]]]:
        """The rows of all runs of one configuration, by table."""
        fault = self.faults.get(config.fingerprint, "")
        run = SyntheticRun(config, self.truth, start, diverges=fault == "diverged")
        if fault == "missing":
            return
        if fault in ("duplicates", "deleted"):
            other = dataclasses.replace(self.truth, seed=self.truth.seed + 1)
            older = SyntheticRun(config, other, start + 1_000)
            yield from self._run_rows(older, fault)
            yield from self._run_rows(run, "", attempt=2)
            return
        yield from self._run_rows(run, fault)

    def _run_rows(
        self, run: SyntheticRun, fault: str, attempt: int = 1
    ) -> Iterator[tuple[Table, list[Row]]]:
        run_id = uuid.UUID(bytes=self.ids.bytes(16), version=4).hex
        points = [
            (key, getattr(record, key), record.timestamp, record.epoch)
            for record in run.history
            for key in EPOCH_METRIC_NAMES
        ]
        points += [
            (f"system/extra_{i}", 100.0 * i + record.epoch, record.timestamp, record.epoch)
            for record in run.history
            for i in range(self.extra_metrics)
        ]
        end = run.start + (len(run.history) + 1) * EPOCH_MILLISECONDS
        status = "FINISHED"
        if fault == "unfinished":
            status = UNFINISHED[self.unfinished_so_far % len(UNFINISHED)]
            self.unfinished_so_far += 1
            points = [p for p in points if p[3] <= len(run.history) * 2 // 3]
        else:
            points += [(key, value, end, 0) for key, value in run.summary.items()]
        latest = {point[0]: point for point in points}
        if fault == "gaps":
            points = [p for p in points if p[3] not in (2, 4)]
        if fault == "repeated":
            points = [_other(p) for p in points if p[3] > len(run.history) // 2] + points
        stage = "deleted" if fault == "deleted" else "active"
        ended = None if status == "RUNNING" else end
        name = run.config.run_name
        attributes = (run_id, name, "LOCAL", "synthetic", status, run.start, ended, stage)
        yield runs, [(*attributes, self.experiment_id, "")]  # no files
        yield metrics, [_metric_row(point, run_id) for point in points]
        yield (
            latest_metrics,
            [_metric_row(point, run_id) for point in latest.values()],
        )
        yield params, [(key, value, run_id) for key, value in _params(run.config).items()]
        said = _tags(run.config) | {ATTEMPT_TAG: str(attempt)}
        if status == "FINISHED":
            said |= {STATE_TAG: "finished", DIVERGED_TAG: str(run.diverges).lower()}
            said |= layers_tags(layers) if (layers := run.layers) else {}
        yield tags, [(key, value, run_id) for key, value in said.items()]


def _other(point: tuple[str, float, int, int]) -> tuple[str, float, int, int]:
    """The point as an earlier attempt logged it, which was then abandoned."""
    key, value, timestamp, step = point
    return key, value + 0.25, timestamp - 1_000_000, step


def _metric_row(point: tuple[str, float, int, int], run_id: str) -> tuple[Any, ...]:
    key, value, timestamp, step = point
    is_nan = math.isnan(value)
    if math.isinf(value):
        value = math.copysign(LARGEST, value)
    return key, 0.0 if is_nan else value, timestamp, run_id, step, is_nan


def _params(config: RunConfig) -> dict[str, str]:
    sizes = train_images(config), validation_images(config), TEST_IMAGES[config.dataset]
    return config.parameters() | dict(zip(IMAGE_COUNTS, map(str, sizes), strict=True))


def _tags(config: RunConfig) -> dict[str, str]:
    return {
        FINGERPRINT_TAG: config.fingerprint,
        CONFIG_TAG: config.model_dump_json(),
        DEVICE_TAG: "cpu",
        NAME_TAG: config.run_name,
        STATE_TAG: "running",
    }
