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
from sqlalchemy.exc import OperationalError

from suite.worker import writer as writer_module
from suite.worker.writer import WriteError, Writer, passing

LONG = 60.0  # seconds which a test never waits unless it fails


def away() -> MlflowException:
    return MlflowException("no answer\nat all", TEMPORARILY_UNAVAILABLE)


class Notes(list[str]):
    """What a person was told."""


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def writer(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE", 0.02)
    made = Writer(notes.append)
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


def test_writes_are_done_in_order(writer: Writer) -> None:
    done: list[int] = []
    for number in range(100):
        writer.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    assert writer.drain(LONG) == 0
    assert done == list(range(100))


def test_the_order_is_kept_through_an_outage(writer: Writer) -> None:
    done: list[int] = []
    for number in range(20):
        writer.submit(failing(number % 3, away, lambda number=number: done.append(number)))  # type: ignore[misc]
    assert writer.drain(LONG) == 0
    assert done == list(range(20))


def test_nobody_waits_for_a_write_under_way(writer: Writer) -> None:
    answer, done = threading.Event(), []
    writer.submit(lambda: done.append(answer.wait(LONG)))
    for _ in range(5):
        writer.submit(lambda: done.append(True))
    assert done == []  # six writes are accepted, while the first has not come back
    assert writer.drain(0.01) == 6
    answer.set()
    assert writer.drain(LONG) == 0
    assert done == [True] * 6


def test_an_outage_is_told_once_and_so_is_its_end(writer: Writer, notes: Notes) -> None:
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
    writer: Writer, notes: Notes, code: int
) -> None:
    done: list[bool] = []
    writer.submit(failing(1, lambda: MlflowException("no such run\nor so", code), list))
    writer.submit(lambda: done.append(True))
    with pytest.raises(WriteError, match=r"^mlflow: no such run$"):
        writer.drain(LONG)
    with pytest.raises(WriteError, match=r"^mlflow: no such run$"):
        writer.submit(lambda: done.append(True))
    assert (done, notes) == ([], [])


def test_an_error_of_our_own_is_not_tried_again(writer: Writer) -> None:
    writer.submit(failing(1, lambda: KeyError("run_id"), list))
    with pytest.raises(WriteError, match="run_id") as caught:
        writer.drain(LONG)
    assert isinstance(caught.value.__cause__, KeyError)


def test_draining_ends_after_its_timeout_and_tells_what_is_left(writer: Writer) -> None:
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
    monkeypatch.setattr(writer_module, "FIRST_PAUSE", 10 * LONG)
    writer, tried, never = Writer(notes.append), threading.Event(), threading.Event()

    def task() -> None:
        tried.set()
        raise away()

    writer.submit(task)
    writer.submit(never.set)
    assert tried.wait(LONG)
    writer.close()
    assert not running()  # the pause of minutes was cut short
    assert not never.is_set()


def test_closing_gives_a_write_under_way_its_moment(notes: Notes) -> None:
    writer, begun, answer, done = Writer(notes.append), threading.Event(), threading.Event(), []

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
    monkeypatch.setattr(writer_module, "LAST_WRITE_WAIT", 0.05)
    writer, begun, answer = Writer(notes.append), threading.Event(), threading.Event()

    def task() -> None:
        begun.set()
        answer.wait(LONG)

    writer.submit(task)
    assert begun.wait(LONG)
    writer.close()
    thread = next(t for t in threading.enumerate() if t.name == "mlflow-writer")
    assert thread.daemon
    answer.set()
    thread.join(LONG)


def test_time_spent_in_writes_is_counted(writer: Writer) -> None:
    assert writer.busy_seconds == 0
    writer.submit(lambda: threading.Event().wait(0.02) and None)
    writer.drain(LONG)
    assert 0.02 <= writer.busy_seconds < LONG


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (away(), True),
        (MlflowException("API request failed"), True),
        (OperationalError("SELECT 1", {}, Exception("database is locked")), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (MlflowException("run is deleted", INVALID_PARAMETER_VALUE), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("x"), False),
    ],
)
def test_which_errors_waiting_may_mend(error: Exception, passes: bool) -> None:
    assert passing(error) is passes
