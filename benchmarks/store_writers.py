"""Eight processes that log to one SQLite store at once: rows a second, rows lost, errors seen.

Run it with ``python -m benchmarks.store_writers --minutes 10``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from suite.basics.mlflow_tables import metrics, runs

EPOCHS_PER_BATCH, RUNS_PER_FLEET = 8, 5
LAST_WAIT = 120.0  # seconds for the queue to be written


@dataclass(frozen=True)
class Written:
    """What one process has logged."""

    runs: int
    rows: int
    notices: list[str]


@dataclass(frozen=True)
class Report:
    """What all have logged, and what the store has."""

    written: list[Written]
    rows: int
    finished: int
    seconds: float

    @property
    def lost(self) -> int:
        """Rows which a process logged and the store does not have."""
        return sum(part.rows for part in self.written) - self.rows

    @property
    def notices(self) -> list[str]:
        """What a person would have read, e.g. of a locked database."""
        return [line for part in self.written for line in part.notices]


def write(uri: str, seed: int, seconds: float) -> Written:
    """Begin runs, log their epochs through a writer as a sweep does, and finish them."""
    os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
    from suite.declarations.config import RunConfig
    from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
    from suite.tracking.metadata import DataDescription
    from suite.tracking.runs import Tracker
    from suite.worker.write_queue import WriteQueue

    data = DataDescription("none", "0" * 16, "none", {"train": 1}, (1, 1, 1), ("0",))
    tracker = Tracker("writers", uri)
    notices: list[str] = []
    writer = WriteQueue(notices.append)
    until = time.monotonic() + seconds
    runs = rows = 0
    while time.monotonic() < until:
        for index in range(RUNS_PER_FLEET):
            config = RunConfig(seed=1_000_000 * seed + runs + index)

            def task(config: RunConfig = config) -> None:
                run_id = tracker.create(config, data, "cpu")
                for first in range(1, 5 * EPOCHS_PER_BATCH, EPOCHS_PER_BATCH):
                    epochs = range(first, first + EPOCHS_PER_BATCH)
                    tracker.log_epochs(run_id, [EpochRecord(e, e, *[float(e)] * 6) for e in epochs])
                tracker.finish(run_id, {"test_accuracy": 0.5}, 1, diverged=False)

            writer.submit(task)
            rows += 5 * EPOCHS_PER_BATCH * len(EPOCH_METRIC_NAMES) + 1
        runs += RUNS_PER_FLEET
        writer.drain(LAST_WAIT)
    left = writer.drain(LAST_WAIT)
    writer.close()
    return Written(runs, rows, [*notices, *([f"{left} tasks unwritten"] if left else [])])


def measure(processes: int, seconds: float, folder: Path) -> Report:
    """Let processes write to a new store in `folder`; all begin with its creation."""
    path = folder / "mlflow.db"
    context = multiprocessing.get_context("spawn")
    start = time.monotonic()
    with context.Pool(processes) as pool:
        jobs = [(f"sqlite:///{path}", seed, seconds) for seed in range(processes)]
        written = pool.starmap(write, jobs)
    connection = sqlite3.connect(path)
    (rows,) = connection.execute(f"SELECT count(*) FROM {metrics.name}").fetchone()
    query = f"SELECT count(*) FROM {runs.name} WHERE {runs.c.status} = 'FINISHED'"
    (finished,) = connection.execute(query).fetchone()
    connection.close()
    return Report(written, rows, finished, time.monotonic() - start)


def main() -> int:
    """Print the report; exit code 1 if a row is lost or a person would have been troubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.processes, 60 * options.minutes, Path(folder))
    print(
        f"{options.processes} processes, {report.seconds:.0f} s: {report.finished} runs, "
        f"{report.rows:,} rows, {report.rows / report.seconds:,.0f} rows/s, {report.lost} lost"
    )
    for line in report.notices:
        print(f"notice: {line}")
    return 1 if report.lost or report.notices else 0


if __name__ == "__main__":
    sys.exit(main())
