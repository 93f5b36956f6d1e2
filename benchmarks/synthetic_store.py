"""MLflow stores of any size with known truth, for tests and for timing the analysis.

    python -m benchmarks.synthetic_store --experiment main --epochs 300 OUT.db

MLflow itself creates the store, so the schema is its own; the rows then go in by SQL, some 100
times faster than through its client, which is held to write the same rows by a test.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, create_engine, func, inspect, select, text

from benchmarks.synthetic_rows import RowWriter
from benchmarks.synthetic_truth import Truth
from suite.basics.mlflow_client import experiment_id
from suite.basics.mlflow_tables import metrics, runs
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import EPOCH_METRIC_NAMES


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
        writer = RowWriter(
            *(connection, number, truth, written.by_fault),
            extra_metrics=extra_metrics,
            first_run=first,
        )
        if first:
            writer.write(configs)
        else:
            with _without_metric_indexes(connection):
                writer.write(configs)
    engine.dispose()
    return written


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
