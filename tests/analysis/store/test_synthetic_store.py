"""The generator of stores against what the suite itself writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from store_helpers import (
    CONFIGS,
    FAULTS,
    empty_store,
    rows,
)

from benchmarks.synthetic_store import Faults, write
from benchmarks.synthetic_truth import SyntheticRun, Truth
from suite.declarations.schedule import learning_rates


def test_the_generator_writes_the_rows_that_the_suite_writes_through_mlflow(tmp_path: Path) -> None:
    from suite.tracking.runs import DataDescription, Tracker

    for folder in ("suite", "generator"):
        (tmp_path / folder).mkdir()
    by_suite, by_generator = empty_store(tmp_path / "suite"), empty_store(tmp_path / "generator")
    written = write(by_generator, CONFIGS[:1], faults=Faults(diverged=1))
    start = rows(by_generator, "SELECT start_time FROM runs")[0][0]
    run = SyntheticRun(CONFIGS[0], written.truth, start, diverges=True)
    tracker = Tracker("synthetic", by_suite)
    sizes = {"train": 1150, "validation": 288, "test": 359}
    data = DataDescription("digits", "0", "digits", sizes, (1, 8, 8), list("0123456789"))
    run_id = tracker.create(CONFIGS[0], data, "cpu")
    tracker.log_epochs(run_id, run.history)
    end = rows(by_generator, "SELECT end_time FROM runs")[0][0]
    tracker.finish(run_id, run.summary, end, diverged=True, layers=run.layers)
    for table in ("metrics", "latest_metrics"):
        query = f"SELECT key, value, timestamp, step, is_nan FROM {table} ORDER BY 1, 4"
        assert rows(by_generator, query) == rows(by_suite, query)
    query = "SELECT key, value FROM params ORDER BY 1"
    assert rows(by_generator, query) == rows(by_suite, query)
    tags = dict(rows(by_suite, "SELECT key, value FROM tags"))
    assert set(rows(by_generator, "SELECT key, value FROM tags")) <= set(tags.items())


def test_the_generator_is_deterministic_and_obeys_the_suite_s_own_schedule(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    uris = [empty_store(tmp_path / folder) for folder in ("a", "b")]
    for uri in uris:
        write(uri, CONFIGS, faults=FAULTS)
    for table in ("runs", "metrics", "params", "tags"):
        query = (
            f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4"
            if table == "metrics"
            else (f"SELECT * FROM {table} ORDER BY run_uuid, 1")
        )
        assert rows(uris[0], query) == rows(uris[1], query)
    run = SyntheticRun(CONFIGS[0], Truth(), 0)
    rates = learning_rates(CONFIGS[0], 1150).reshape(6, -1)
    np.testing.assert_array_equal([r.learning_rate for r in run.history], rates[:, -1])
