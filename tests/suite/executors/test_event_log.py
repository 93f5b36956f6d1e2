"""Events in files: the same on the other side, whole lines only, and a summary for latecomers."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.declarations.config import RunConfig
from suite.declarations.results import RunResult
from suite.executors.event_log import EventLog, EventTail
from suite.worker.messages import Event, FleetEpoch, FleetStart, Uploaded

NAMES = ("a", "b")
START = FleetStart("sgd b16", NAMES, 60, 0, 1150)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "12_0.events"


@pytest.mark.parametrize(
    "event",
    [
        Event("notice", "η is small"),
        Event("fleet", START),
        Event("epoch", FleetEpoch(3, NAMES, 0.5)),
        Event("elsewhere", frozenset(NAMES)),
        Event("failed", ("a", "sgd σw=1", "ValueError: x")),
        Event("idle"),
        Event("end", None),
        Event("end", "interrupted"),
    ],
)
def test_an_event_comes_out_as_it_went_in(path: Path, event: Event) -> None:
    EventLog(path).tell(event)
    assert EventTail(path).new() == [event]


def test_a_finished_run_comes_out_as_one_that_mlflow_has(path: Path) -> None:
    EventLog(path).tell(
        Event("finished", Uploaded("run", RunResult(RunConfig(), [], {}, diverged=False)))
    )
    assert EventTail(path).new() == [Event("elsewhere", frozenset([RunConfig().fingerprint]))]


def test_each_event_comes_once_and_half_a_line_waits_for_its_other_half(path: Path) -> None:
    log, tail = EventLog(path), EventTail(path)
    assert tail.new() == []
    log.tell(Event("idle"))
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole[:10])
    assert tail.new() == [Event("idle")]
    assert tail.new() == []
    with path.open("ab") as file:
        file.write(whole[10:])
    assert tail.new() == [Event("idle")]


@pytest.mark.parametrize(
    "line", [bytes(20), b"", b"{}", b"[]", b'{"kind": "fleet", "content": {}}', b"[" * 100_000]
)
def test_a_line_that_cannot_be_read_is_a_notice_and_the_next_ones_are_events(
    path: Path, line: bytes
) -> None:
    path.write_bytes(line + b"\n")
    EventLog(path).tell(Event("idle"))
    notice, idle = EventTail(path).new()
    assert notice.kind == "notice"
    assert notice.content.startswith(f"a line of {path} cannot be read (")
    assert len(notice.content.splitlines()) == 1
    assert idle == Event("idle")


def test_whoever_comes_late_learns_where_the_worker_stands_and_what_failed(path: Path) -> None:
    log, failed = EventLog(path), Event("failed", ("z", "name", "reason"))
    for event in (
        *(Event("fleet", START), Event("epoch", FleetEpoch(60, NAMES, 0.9)), Event("idle")),
        *(failed, Event("fleet", START), Event("epoch", FleetEpoch(7, NAMES, 0.5))),
    ):
        log.tell(event)
    tail = EventTail(path)
    assert list(tail.summary()) == [
        failed,
        Event("fleet", FleetStart("sgd b16", NAMES, 60, 7, 1150)),
    ]
    log.tell(Event("end", None))
    assert tail.new() == [Event("end", None)], "and goes on from there"
    assert list(EventTail(path).summary()) == [failed, Event("end", None)]
