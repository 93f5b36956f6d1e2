"""MLflow stores of any size with known truth, for tests and for timing the analysis.

    python -m benchmarks.synthetic_store --experiment main --epochs 300 OUT.db

MLflow itself creates the store, so the schema is its own; the rows then go in by SQL, some 100
times faster than through its client, which is held to write the same rows by a test.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, create_engine, func, inspect, select, text

from benchmarks.synthetic_truth import (
    EPOCH_MILLISECONDS,
    TEST_IMAGES,
    SyntheticRun,
    Truth,
    train_images,
    validation_images,
)
from suite.basics.mlflow_client import experiment_id
from suite.basics.mlflow_tables import LARGEST, latest_metrics, metrics, params, runs, tags
from suite.declarations.attempts import ATTEMPT_TAG
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
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


@dataclass(frozen=True)
class Faults:
    """How many configurations go wrong in each way; no configuration does in two."""

    missing: int = 0  # never started
    unfinished: int = 0  # RUNNING, KILLED or FAILED in turn, at two thirds of its epochs
    duplicates: int = 0  # finished twice; the older run has other noise, and a clock that ran ahead
    gaps: int = 0  # finished, but two epochs were never logged
    diverged: int = 0  # finished without a finite loss
    repeated: int = 0  # its last epochs were logged twice, at first with other values
    deleted: int = 0  # an older finished run exists, deleted


@dataclass(frozen=True)
class Written:
    """What a synthetic store holds.

    Attributes
    ----------
    by_fault
        Field name of `Faults` to the configurations it befell.
    """

    truth: Truth
    configs: Sequence[RunConfig]
    by_fault: dict[str, list[RunConfig]] = field(default_factory=dict)

    def finished(self) -> list[RunConfig]:
        """The configurations that have a finished run."""
        absent = {c.fingerprint for f in ("missing", "unfinished") for c in self.by_fault[f]}
        return [config for config in self.configs if config.fingerprint not in absent]


def reduced(experiment: Experiment, *, epochs: int = 0, seeds: int = 0) -> Experiment:
    """The experiment with fewer epochs and only its first seeds; 0 leaves either alone."""
    axes, fixed = dict(experiment.axes), dict(experiment.fixed)
    if epochs:
        fixed["epochs"] = epochs
    if seeds:
        axes["seed"] = axes["seed"][:seeds]
    return dataclasses.replace(experiment, axes=axes, fixed=fixed)


def write(
    uri: str,
    configs: Iterable[RunConfig],
    *,
    experiment: str = "synthetic",
    truth: Truth | None = None,
    faults: Faults | None = None,
    extra_metrics: int = 0,
) -> Written:
    """Add one run per configuration to a store; a store that does not exist yet is created.

    Parameters
    ----------
    uri
        An SQLAlchemy URI of SQLite or PostgreSQL.
    experiment
        The MLflow experiment's name.
    truth
        The curves; by default those of `Truth()` with the mean σw of `configs`.
    extra_metrics
        Metrics per epoch besides the suite's, as MLflow's system metrics would be.
    """
    from mlflow import MlflowClient

    configs = list(configs)
    truth = truth or Truth(mean_sigma_w=float(np.mean([config.sigma_w for config in configs])))
    written = Written(truth, configs, _assign(configs, faults or Faults(), truth.seed))
    number = int(experiment_id(MlflowClient(uri), experiment))
    engine = create_engine(uri)
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = -500000")  # 500 MB
        first = connection.execute(select(func.count()).select_from(runs)).scalar_one()
        writer = _Writer(connection, number, written, extra_metrics, first_run=first)
        if first:
            writer.write()
        else:
            with _without_metric_indexes(connection):
                writer.write()
    engine.dispose()
    return written


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add rows to a table, past the checks and conversions by which SQLAlchemy takes its time."""
    if not rows:
        return
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = ", ".join([mark] * len(table.columns))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", list(rows))


def _assign(configs: list[RunConfig], faults: Faults, seed: int) -> dict[str, list[RunConfig]]:
    order = iter(np.random.default_rng(seed).permutation(len(configs)).tolist())
    return {
        name: [configs[next(order)] for _ in range(count)]
        for name, count in dataclasses.asdict(faults).items()
    }


class _without_metric_indexes:  # noqa: N801  (reads as a statement)
    """Rebuild the secondary indexes once at the end instead of row by row (SQLite)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.definitions: list[str] = []

    def __enter__(self) -> None:
        if self.connection.dialect.name != "sqlite":
            return
        names = [str(index["name"]) for index in inspect(self.connection).get_indexes(metrics.name)]
        for name in names:
            found = text("SELECT sql FROM sqlite_master WHERE name = :name")
            self.definitions.append(self.connection.execute(found, {"name": name}).scalar_one())
            self.connection.execute(text(f"DROP INDEX {name}"))

    def __exit__(self, *_: object) -> None:
        for definition in self.definitions:
            self.connection.execute(text(definition))


class _Writer:
    def __init__(
        self,
        connection: Connection,
        experiment_id: int,
        written: Written,
        extra_metrics: int,
        first_run: int,
    ) -> None:
        self.connection, self.experiment_id = connection, experiment_id
        self.written, self.extra_metrics = written, extra_metrics
        self.ids = np.random.default_rng([written.truth.seed, first_run])
        self.first_run = first_run
        self.faults = {
            config.fingerprint: fault
            for fault, befallen in written.by_fault.items()
            for config in befallen
        }
        self.unfinished_so_far = 0

    def write(self) -> None:
        configs = self.written.configs
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
        run = SyntheticRun(config, self.written.truth, start, diverges=fault == "diverged")
        if fault == "missing":
            return
        if fault in ("duplicates", "deleted"):
            other = dataclasses.replace(self.written.truth, seed=self.written.truth.seed + 1)
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a store as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", choices=sorted(EXPERIMENTS), default="main")
    parser.add_argument("--epochs", type=int, default=0, help="0: as in the experiment")
    parser.add_argument("--seeds", type=int, default=0, help="use only so many; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="decides curves and noise")
    parser.add_argument("--extra-metrics", type=int, default=0, help="besides the suite's own")
    for fault in dataclasses.fields(Faults):
        parser.add_argument(f"--{fault.name}", type=int, default=0, metavar="N")
    parser.add_argument("out", type=Path, help="the SQLite file, which must not exist yet")
    options = parser.parse_args(arguments)
    if options.out.exists():
        sys.exit(f"OUT: must not exist yet, got {options.out}; remove it or name another file")
    experiment = reduced(
        EXPERIMENTS[options.experiment], epochs=options.epochs, seeds=options.seeds
    )
    faults = Faults(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Faults)})
    configs = list(experiment.configs())
    written = write(
        f"sqlite:///{options.out.resolve()}",
        configs,
        experiment=experiment.name,
        truth=Truth(options.seed, float(np.mean([config.sigma_w for config in configs]))),
        faults=faults,
        extra_metrics=options.extra_metrics,
    )
    print(
        f"{options.out}: {len(written.finished())} finished of {len(configs)} points of "
        f"{experiment.name}, metrics {', '.join(EPOCH_METRIC_NAMES)}"
    )


if __name__ == "__main__":
    main()
