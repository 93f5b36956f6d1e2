"""The ledger: which runs of an experiment are done, from a database or from a server."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE
from mlflow_stores import Store

from suite.basics import mlflow_client
from suite.declarations.attempts import ATTEMPT_TAG
from suite.declarations.tags import FINGERPRINT_TAG
from suite.tracking import ledger as ledger_module
from suite.tracking.ledger import Ledger, LedgerReader
from suite.tracking.runs import Tracker

AWAY = MlflowException("no answer", TEMPORARILY_UNAVAILABLE)


@pytest.fixture
def tracker(store: Store) -> Tracker:
    return Tracker("sweep", store.uri)


def begin(
    tracker: Tracker, fingerprint: str, start: int, status: str = "RUNNING", attempt: int = 0
) -> str:
    tags = {FINGERPRINT_TAG: fingerprint} | ({ATTEMPT_TAG: str(attempt)} if attempt else {})
    run = tracker.client.create_run(tracker.experiment_id, start_time=start, tags=tags)
    if status != "RUNNING":
        tracker.client.set_terminated(run.info.run_id, status, end_time=start + 10)
    return str(run.info.run_id)


@pytest.fixture(params=["database", "server"])
def reader(tracker: Tracker, request: pytest.FixtureRequest) -> LedgerReader:
    """Both ways of reading; a server is asked through MLflow's client, which a database also is."""
    made = LedgerReader(tracker)
    if request.param == "server":
        made._engine = None
    return made


def test_a_run_is_finished_unfinished_or_failed(tracker: Tracker, reader: LedgerReader) -> None:
    done = begin(tracker, "a", 1, "FINISHED")
    going = begin(tracker, "b", 2)
    broken = begin(tracker, "c", 3, "FAILED")
    stopped = begin(tracker, "d", 4, "KILLED")
    tracker.client.create_run(tracker.experiment_id)  # a recipe: no fingerprint
    assert reader.read() == Ledger(
        {"a": done}, {"b": going, "c": broken, "d": stopped}, {"c": (broken, 13)}
    )


def test_a_finished_run_outweighs_all_others_and_the_newest_unfinished_goes_on(
    tracker: Tracker, reader: LedgerReader
) -> None:
    """The newest is the one that was asked for last, whatever the clock said then."""
    done = begin(tracker, "a", 1, "FINISHED")
    begin(tracker, "a", 2, "FAILED")
    newest = begin(tracker, "b", 3, attempt=2)
    begin(tracker, "b", 4, "FAILED", attempt=1)
    assert reader.read() == Ledger({"a": done}, {"b": newest}, {})


def test_of_two_finished_runs_the_one_asked_for_last_counts_and_the_other_is_named(
    tracker: Tracker, reader: LedgerReader
) -> None:
    second = begin(tracker, "a", 1, "FINISHED", attempt=2)
    first = begin(tracker, "a", 9, "FINISHED", attempt=1)
    unnumbered = begin(tracker, "a", 99, "FINISHED")
    assert reader.read() == Ledger({"a": second}, {}, {}, {"a": [unnumbered, first]})
    assert tracker.finished("a") == second


def test_whether_a_run_has_failed_since_does_not_hang_on_what_the_clock_says(
    tracker: Tracker, reader: LedgerReader
) -> None:
    """A failure dated in the future is an old one; a new one may be dated before it."""
    run_id = begin(tracker, "a", 4_000_000_000_000, "FAILED")
    before = reader.read().failed
    assert not reader.read().failed_since("a", before)
    tracker.client.update_run(run_id, status="RUNNING")
    assert not reader.read().failed_since("a", before)
    tracker.client.set_terminated(run_id, "FAILED", end_time=1)
    assert reader.read().failed_since("a", before)


def test_deleted_runs_and_other_experiments_do_not_count(
    tracker: Tracker, reader: LedgerReader, store: Store
) -> None:
    tracker.client.delete_run(begin(tracker, "a", 1, "FINISHED"))
    begin(Tracker("another", store.uri), "b", 2, "FINISHED")
    assert reader.read() == Ledger({}, {}, {})


def test_a_server_is_read_to_its_last_page(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_client, "PAGE", 2)
    ids = {name: begin(tracker, name, start, "FINISHED") for start, name in enumerate("abcde")}
    reader = LedgerReader(tracker)
    reader._engine = None
    assert reader.read().finished == ids


def test_a_few_runs_are_looked_up_alone(tracker: Tracker, reader: LedgerReader) -> None:
    begin(tracker, "a", 1)
    reader.latest()
    done, newest = begin(tracker, "a", 2, "FINISHED"), begin(tracker, "b", 3)
    part = reader.of(["a", "b", "never seen"])
    assert part.finished["a"] == done
    assert part.unfinished["b"] == newest


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a server answers to each search, one after the other."""
    given: list[Any] = []

    def read(_self: LedgerReader) -> Ledger:
        answer = given.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(LedgerReader, "read", read)
    yield given
    assert given == []


def remote() -> LedgerReader:
    return LedgerReader(SimpleNamespace(uri="http://127.0.0.1:1"))  # type: ignore[arg-type]


def test_while_a_server_is_away_the_ledger_stays_as_it_was(
    answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(ledger_module.time, "monotonic", lambda: clock[0])
    before, after = Ledger({"a": "1"}, {}, {}), Ledger({"a": "1", "b": "2"}, {}, {})
    answers += [before, AWAY, AWAY, after]
    reader = remote()
    assert reader.latest() == before
    assert reader.latest() == before
    clock[0] = 130.0
    assert reader.of(["b"]) == before
    assert reader.seconds_away == 30.0
    assert reader.latest() == after
    assert reader.seconds_away == 0.0


@pytest.mark.parametrize("reason", [AWAY, MlflowException("no", PERMISSION_DENIED)])
def test_a_ledger_that_was_never_read_or_is_refused_is_an_error(
    answers: list[Any], reason: MlflowException
) -> None:
    reader = remote()
    if reason is not AWAY:
        answers.append(Ledger({}, {}, {}))
        reader.latest()
    answers.append(reason)
    with pytest.raises(MlflowException):
        reader.latest()
