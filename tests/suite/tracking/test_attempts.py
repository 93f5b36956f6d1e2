"""Which of several runs of one configuration counts, as MLflow has them."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient
from mlflow_stores import Store
from tracked_runs import CONFIG, DATA, begin

from suite.tracking.runs import Tracker


def test_a_new_finished_run_replaces_the_old_one_and_nothing_else(
    tracker: Tracker, store: Store
) -> None:
    old, new, other = begin(tracker), begin(tracker), begin(tracker, CONFIG.with_(seed=1))
    unfinished = begin(tracker)
    for run_id in (old, new, other):
        tracker.finish(run_id, {}, 1, diverged=False)
    assert tracker.supersede(new, CONFIG.fingerprint) == new
    assert store.statuses() == {new: "FINISHED", other: "FINISHED", unfinished: "RUNNING"}
    assert MlflowClient(store.uri).get_run(old).info.lifecycle_stage == "deleted"
    assert tracker.finished(CONFIG.fingerprint) == new


@pytest.fixture(params=["database", "server"])
def either(tracker: Tracker, request: pytest.FixtureRequest) -> Tracker:
    """Asked by SQL, and through MLflow's client as a server is."""
    if request.param == "server":
        tracker._engine = None
    return tracker


def test_what_was_asked_for_last_stays_although_the_clock_has_been_set_back(
    either: Tracker, store: Store
) -> None:
    old, new = begin(either), begin(either)
    for run_id in (old, new):
        either.finish(run_id, {}, 1, diverged=False)
    in_the_future = 4_000_000_000_000
    store.execute(
        "UPDATE runs SET start_time = ?, end_time = ? WHERE run_uuid = ?",
        *(in_the_future, in_the_future, old),
    )
    assert either.supersede(new, CONFIG.fingerprint) == new
    assert store.statuses() == {new: "FINISHED"}


def test_a_deleted_run_that_is_restored_does_not_count_beside_the_one_trained_meanwhile(
    either: Tracker,
) -> None:
    old = begin(either)
    either.delete(old)
    new = begin(either)
    either.client.restore_run(old)
    for run_id in (new, old):
        either.finish(run_id, {}, 1, diverged=False)
    assert either.finished(CONFIG.fingerprint) == new


def test_a_run_taken_up_again_is_the_one_asked_for_last(either: Tracker, store: Store) -> None:
    first, second = begin(either), begin(either)
    assert [store.tags(run_id)["attempt"] for run_id in (first, second)] == ["1", "2"]
    either.take_up(second, CONFIG, DATA, "cpu")
    assert store.tags(second)["attempt"] == "2", "it is that already"
    either.take_up(first, CONFIG, DATA, "cpu")
    assert store.tags(first)["attempt"] == "3"


def test_machines_that_number_two_runs_alike_keep_the_same_one(
    either: Tracker, store: Store
) -> None:
    runs = [begin(either), begin(either)]
    store.execute("UPDATE tags SET value = '1' WHERE key = 'attempt'")
    for run_id in runs:
        either.finish(run_id, {}, 1, diverged=False)
    assert either.finished(CONFIG.fingerprint) == max(runs)
    assert either.supersede(min(runs), CONFIG.fingerprint) == max(runs)
    assert store.statuses() == {max(runs): "FINISHED"}
