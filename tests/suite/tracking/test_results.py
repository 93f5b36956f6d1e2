"""What a scoreboard learns of finished runs: the same from a database and from a server."""

from __future__ import annotations

import math

import numpy as np
from mlflow.entities import Metric
from mlflow_stores import Store

from suite.tracking.results import Result, read_results
from suite.tracking.runs import Tracker
from suite.tracking.schema import engine_of


def finish(tracker: Tracker, points: list[tuple[int, int, float]], diverged: str) -> str:
    """A run with the given (timestamp, epoch, val_accuracy); its id."""
    client = tracker.client
    run_id = str(client.create_run(tracker.experiment_id).info.run_id)
    metrics = [Metric("val_accuracy", value, time, epoch) for time, epoch, value in points]
    metrics += [Metric("test_accuracy", 0.5, 9, 0), Metric("repair_gap", math.nan, 9, 0)]
    metrics += [Metric("kernel_norm_best", math.inf, 9, 0), Metric("system/cpu", 3.0, 9, 0)]
    client.log_batch(run_id, metrics=metrics)
    client.set_tag(run_id, "diverged", diverged)
    return run_id


def test_a_database_and_a_server_say_the_same_and_the_last_value_of_an_epoch_counts(
    store: Store,
) -> None:
    tracker = Tracker("sweep", store.uri)
    twice = finish(tracker, [(7, 1, 0.25), (5, 1, 0.1), (6, 2, math.nan)], "true")
    none = finish(tracker, [], "false")
    finish(tracker, [(1, 1, 0.9)], "true")  # not asked for
    expected = {twice: Result({1: 0.25, 2: math.nan}, {}, True), none: Result({}, {}, False)}
    summary = {"test_accuracy": 0.5, "repair_gap": math.nan, "kernel_norm_best": math.inf}
    engine = engine_of(store.uri)
    for from_database in (True, False):
        found = read_results(tracker, engine if from_database else None, [twice, none])
        assert found.keys() == expected.keys()
        for run_id, result in expected.items():
            np.testing.assert_equal(dict(found[run_id].curve), result.curve)
            if not from_database:  # MLflow's own client reads infinity as the largest number
                summary["kernel_norm_best"] = found[run_id].summary["kernel_norm_best"]
                assert summary["kernel_norm_best"] > 1e308
            np.testing.assert_equal(dict(found[run_id].summary), summary)
            assert found[run_id].diverged is result.diverged


def test_an_address_of_a_server_is_no_database() -> None:
    assert engine_of("http://127.0.0.1:5000") is None
