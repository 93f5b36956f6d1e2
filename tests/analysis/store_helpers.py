"""Small stores with known truth, each a copy of one that MLflow made."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow_stores import made_store

from analysis.store import frames as store
from benchmarks.synthetic_store import Faults, Written, reduced, write
from suite.declarations.config import RunConfig
from suite.declarations.experiment_files import apply
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import EPOCH_METRIC_NAMES

SMALL = reduced(
    apply(
        EXPERIMENTS["demo"],
        [
            *("optimizer=sgd,momentum,adam", "learning_rate=0.001", "batch_size=64"),
            *("sigma_w=0.1,0.5,1,1.8,2.5", "train_fraction=1", "norm_momentum=0"),
        ],
    ),
    epochs=6,
    seeds=2,
)
CONFIGS: Sequence[RunConfig] = tuple(SMALL.configs())  # 30 runs of 6 epochs
FAULTS = Faults(missing=2, unfinished=3, duplicates=2, gaps=2, diverged=2, repeated=2, deleted=2)


def empty_store(folder: Path) -> str:
    """The URI of a new store without runs."""
    path = folder / "mlflow.db"
    shutil.copyfile(made_store(), path)
    return f"sqlite:///{path}"


def execute(uri: str, query: str, values: Sequence[Any] = ()) -> None:
    """Change a store behind MLflow's back."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(query, values)


def rows(uri: str, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        return connection.execute(query, values).fetchall()


def expected_history(
    written: Written,
    loaded: store.Store,
    *,
    without: Callable[[RunConfig, int], bool] | None = None,
) -> pd.DataFrame:
    """What was written, in the order of the loaded runs, straight from the generator."""
    from benchmarks.synthetic_truth import SyntheticRun

    configs = {config.fingerprint: config for config in written.configs}
    diverged = {config.fingerprint for config in written.by_fault["diverged"]}
    parts = []
    for run in loaded.runs.itertuples():
        config = configs[run.fingerprint]
        made = SyntheticRun(config, written.truth, 0, diverges=config.fingerprint in diverged)
        parts += [
            {"run_id": run.run_id, "epoch": record.epoch, **record.metrics()}
            for record in made.history
            if without is None or not without(config, record.epoch)
        ]
    return pd.DataFrame(parts)


def assert_same_history(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal row by row and bit by bit, NaN and ±inf included."""
    assert list(found.columns) == ["run_id", "epoch", *EPOCH_METRIC_NAMES]
    assert found["run_id"].astype(str).tolist() == expected["run_id"].tolist()
    assert found["epoch"].tolist() == expected["epoch"].tolist()
    for name in EPOCH_METRIC_NAMES:
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy(), name)


def cached_files(tmp_path: Path) -> list[Path]:
    """The files in the cache of a test."""
    return sorted((tmp_path / "cache").rglob("*.*"))


def assert_same(found: store.Store, expected: store.Store) -> None:
    """Equal runs, histories and problems."""
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.history, expected.history)
    for part in ("missing", "unfinished", "duplicates", "incomplete", "unreadable"):
        pd.testing.assert_frame_equal(
            getattr(found.problems, part), getattr(expected.problems, part)
        )


def error_line(experiment: str, uri: str) -> str:
    """What is said of an experiment that cannot be read."""
    with pytest.raises(store.StoreError) as caught:
        store.load(experiment, uri, cache=False)
    line = str(caught.value)
    assert "\n" not in line
    assert line.split(":")[0] in ("experiment", "tracking_uri")
    assert ", got " in line
    assert "; " in line
    return line


__all__ = [
    "CONFIGS",
    "SMALL",
    "Experiment",
    "assert_same",
    "assert_same_history",
    "cached_files",
    "empty_store",
    "error_line",
    "execute",
    "expected_history",
    "rows",
    "write",
]
