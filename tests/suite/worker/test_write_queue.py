"""The thread that writes to MLflow: order, outages, refusals, and ending in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from suite.worker import write_queue as module
from suite.worker.write_queue import WriteError, WriteQueue

LONG = 60.0  # seconds which a test never waits unless it fails


def away() -> MlflowException:
    return MlflowException("no answer\nat all", TEMPORARILY_UNAVAILABLE)


class Notes(list[str]):
    """What a person was told."""


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def writer(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteQueue]:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    made = WriteQueue(notes.append)
    yield made
    made.close()


def failing(
    times: int, error: Callable[[], Exception], then: Callable[[], None]
) -> Callable[[], None]:
    left = [times]

    def task() -> None:
        if left[0]:
            left[0] -= 1
            raise error()
        then()

    return task


def running() -> bool:
    return any(thread.name == "mlflow-writer" for thread in threading.enumerate())


def test_writes_are_done_in_order(writer: WriteQueue) -> None:
    done: list[int] = []
    for number in range(100):
        writer.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    assert writer.drain(LONG) == 0
    assert done == list(range(100))


def test_the_order_is_kept_through_an_outage(writer: WriteQueue) -> None:
    done: list[int] = []
    for number in range(20):
        writer.submit(failing(number % 3, away, lambda number=number: done.append(number)))  # type: ignore[misc]
    assert writer.drain(LONG) == 0
    assert done == list(range(20))


def test_nobody_waits_for_a_write_under_way(writer: WriteQueue) -> None:
    answer, done = threading.Event(), []
    writer.submit(lambda: done.append(answer.wait(LONG)))
    for _ in range(5):
        writer.submit(lambda: done.append(True))
    assert done == []  # six writes are accepted, while the first has not come back
    assert writer.drain(0.01) == 6
    answer.set()
    assert writer.drain(LONG) == 0
    assert done == [True] * 6


def test_an_outage_is_told_once_and_so_is_its_end(writer: WriteQueue, notes: Notes) -> None:
    done: list[bool] = []
    writer.submit(failing(4, away, lambda: done.append(True)))
    assert writer.drain(LONG) == 0
    assert done == [True]
    assert len(notes) == 2
    assert notes[0].startswith("MLflow is away (no answer")
    assert "\n" not in notes[0]
    assert notes[1].startswith("MLflow is back")


@pytest.mark.parametrize("code", [INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST])
def test_a_refusal_surfaces_and_nothing_is_written_after_it(
    writer: WriteQueue, notes: Notes, code: int
) -> None:
    done: list[bool] = []
    writer.submit(failing(1, lambda: MlflowException("no such run\nor so", code), list))
    writer.submit(lambda: done.append(True))
    with pytest.raises(WriteError, match=r"^mlflow: no such run$"):
        writer.drain(LONG)
    with pytest.raises(WriteError, match=r"^mlflow: no such run$"):
        writer.submit(lambda: done.append(True))
    assert (done, notes) == ([], [])


def test_an_error_of_our_own_is_not_tried_again(writer: WriteQueue) -> None:
    writer.submit(failing(1, lambda: KeyError("run_id"), list))
    with pytest.raises(WriteError, match="run_id") as caught:
        writer.drain(LONG)
    assert isinstance(caught.value.__cause__, KeyError)


def test_draining_ends_after_its_timeout_and_tells_what_is_left(writer: WriteQueue) -> None:
    never = threading.Event()
    writer.submit(lambda: None)
    assert writer.drain(LONG) == 0
    writer.submit(failing(10**9, away, list))
    writer.submit(never.set)
    assert writer.drain(0.05) == 2
    assert not never.is_set()


def test_closing_during_an_outage_leaves_the_work_undone_at_once(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 10 * LONG)
    writer, tried, never = WriteQueue(notes.append), threading.Event(), threading.Event()

    def task() -> None:
        tried.set()
        raise away()

    writer.submit(task)
    writer.submit(never.set)
    assert tried.wait(LONG)
    writer.close()
    writer._thread.join(LONG)
    assert not writer._thread.is_alive()  # the pause of ten minutes was cut short
    assert not never.is_set()


def test_closing_gives_a_write_under_way_its_moment(notes: Notes) -> None:
    writer, begun, answer, done = WriteQueue(notes.append), threading.Event(), threading.Event(), []

    def task() -> None:
        begun.set()
        done.append(answer.wait(LONG))

    writer.submit(task)
    assert begun.wait(LONG)
    threading.Timer(0.05, answer.set).start()
    writer.close()
    assert done == [True]


def test_a_write_that_never_ends_does_not_hold_the_process(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_WRITE_WAIT", 0.05)
    writer, begun, answer = WriteQueue(notes.append), threading.Event(), threading.Event()

    own: list[threading.Thread] = []  # others may be left of other tests

    def task() -> None:
        own.append(threading.current_thread())
        begun.set()
        answer.wait(LONG)

    writer.submit(task)
    assert begun.wait(LONG)
    writer.close()
    (thread,) = own
    assert thread.name == "mlflow-writer"
    assert thread.daemon
    answer.set()
    thread.join(LONG)
