"""The stores by which the growth of costs is measured are as the suite's own."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from mlflow_stores import made_store

from analysis.store.frames import load
from benchmarks import scale
from benchmarks.scale_store import NAME, fill, grid
from suite.declarations.experiment_files import apply, configurations, find
from suite.declarations.experiments import EXPERIMENTS
from suite.sweep.study import Scoreboard
from suite.tracking.ledger import LedgerReader
from suite.tracking.metadata import DataDescription
from suite.tracking.runs import Tracker

ONE_CELL = ["optimizer=adam", "batch_size=16", "sigma_w=0.1,2.5"]


def test_the_experiment_file_is_the_grid_of_that_size(tmp_path: Path) -> None:
    written = find(str(scale.experiment_file(1250, tmp_path)))
    assert written.size == 1250
    assert grid(EXPERIMENTS["main"].size).size == EXPERIMENTS["main"].size
    points = [configurations(apply(e, ONE_CELL)) for e in (written, grid(1250))]
    assert points[0] == points[1]


def test_a_filled_store_is_one_whose_runs_are_all_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, storage = (f"sqlite:///{tmp_path / name}.db" for name in ("mlflow", "optuna"))
    shutil.copyfile(made_store(), tmp_path / "mlflow.db")
    experiment = apply(grid(1250), ONE_CELL)
    fill(uri, storage, experiment)
    tracker = Tracker(NAME, uri)
    names = {config.fingerprint for config in experiment.configs()}
    finished = LedgerReader(tracker).read().finished
    assert finished.keys() == names
    board = Scoreboard(experiment, storage)
    assert board.known == names
    board._storage.engine.dispose()  # type: ignore[attr-defined]
    store = load(NAME, uri, cache=False)
    assert len(store.runs) == experiment.size
    assert not store.problems.incomplete.size
    config = next(experiment.configs())
    data = DataDescription(
        "cifar10", "0" * 16, "x", {"train": 1, "validation": 1, "test": 1}, (), ()
    )
    real = tracker.client.get_run(tracker.create(config, data, "cpu")).data
    made = tracker.client.get_run(finished[config.fingerprint]).data
    assert made.params.keys() == real.params.keys()
    said_of_all = {name for name in real.tags if not name.startswith("mlflow.")}
    assert made.tags.keys() >= said_of_all


def test_the_exponent_is_the_slope_over_the_two_largest_sizes() -> None:
    assert scale.exponent({1: (9.0, 0), 10: (1.0, 0), 100: (100.0, 0)}) == pytest.approx(2)
    assert scale.exponent({10: (1.0, 0), 100: (1.0, 0)}) == 0
    assert math.isnan(scale.exponent({10: (1.0, 0)}))
