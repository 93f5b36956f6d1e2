"""What a scoreboard learns of finished runs: the same from a database and from a server."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
from mlflow.entities import Metric
from mlflow_stores import Store

from suite.declarations.config import parse
from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.declarations.results import RunResult
from suite.tracking.queries import engine_of
from suite.tracking.results import read_results
from suite.tracking.runs import Tracker


def finish(tracker: Tracker, points: list[tuple[int, int, float]], diverged: str) -> str:
    """A run with the given (timestamp, epoch, value of each metric); its id."""
    client = tracker.client
    run_id = str(client.create_run(tracker.experiment_id).info.run_id)
    metrics = [
        Metric(name, value, time, epoch)
        for time, epoch, value in points
        for name in EPOCH_METRIC_NAMES
    ]
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
    values = dict.fromkeys(EPOCH_METRIC_NAMES, 0.25)
    unknown = dict.fromkeys(EPOCH_METRIC_NAMES, math.nan)
    history = [
        EpochRecord(epoch=1, timestamp=7, **values),
        EpochRecord(epoch=2, timestamp=6, **unknown),
    ]
    half = Metric("val_accuracy", 0.5, 8, 3)  # the rest of this epoch is not there yet
    tracker.client.log_batch(twice, metrics=[half])
    configs = {twice: parse({"seed": 1}), none: parse({"seed": 2})}
    expected = {
        twice: RunResult(configs[twice], history, {}, diverged=True),
        none: RunResult(configs[none], [], {}, diverged=False),
    }
    summary = {"test_accuracy": 0.5, "repair_gap": math.nan, "kernel_norm_best": math.inf}
    engine = engine_of(store.uri)
    for from_database in (True, False):
        found = read_results(tracker, engine if from_database else None, configs)
        assert found.keys() == expected.keys()
        for run_id, result in expected.items():
            assert found[run_id].config == configs[run_id]
            np.testing.assert_equal(
                [asdict(record) for record in found[run_id].history],
                [asdict(record) for record in result.history],
            )
            if not from_database:  # MLflow's own client reads infinity as the largest number
                summary["kernel_norm_best"] = found[run_id].summary["kernel_norm_best"]
                assert summary["kernel_norm_best"] > 1e308
            np.testing.assert_equal(dict(found[run_id].summary), summary)
            assert found[run_id].diverged is result.diverged


def test_an_address_of_a_server_is_no_database() -> None:
    assert engine_of("http://127.0.0.1:5000") is None
