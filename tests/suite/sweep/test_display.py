"""What a person sees of a sweep: totals, a line per fleet, and lines that stay whole."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from suite.declarations.config import RunConfig
from suite.declarations.results import RunResult
from suite.sweep import display as display_module
from suite.sweep.display import Display, duration
from suite.worker.messages import Event, FleetEpoch, FleetStart, Uploaded

RUNS = [RunConfig(seed=seed) for seed in range(4)]
NAMES = A, B, C, D = tuple(run.fingerprint for run in RUNS)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(display_module, "time", made)
    return made


def made(width: int = 200, *, terminal: bool = False) -> Display:
    display = Display("demo", 2, dict.fromkeys(NAMES, 10))
    display.console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    return display


def text(display: Display) -> str:
    return display.console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def begin(display: Display, worker: int, names: tuple[str, ...], epoch: int = 0) -> None:
    start = FleetStart(f"fleet {worker}", names, 10, epoch, 1000)
    display.take(worker, Event("fleet", start))


def test_rates_and_time_left_are_those_of_training_and_not_of_starting(clock: Clock) -> None:
    display = made()
    clock.now += 50
    begin(display, 0, NAMES)
    clock.now += 10
    display.take(0, Event("epoch", FleetEpoch(1, NAMES, 0.5)))
    assert display.summary() == (
        "demo: 2 of 6 runs done; 4 running, 0 waiting; 0.4 epochs/s, 400 images/s; 1 min 30 s to go"
    )


def test_epochs_of_a_checkpoint_are_not_counted_as_trained_or_left(clock: Clock) -> None:
    display = made()
    begin(display, 0, NAMES[:2], epoch=8)
    clock.now += 2
    display.take(0, Event("epoch", FleetEpoch(9, NAMES[:2], 0.5)))
    assert "1.0 epochs/s, 1,000 images/s; 22 s to go" in display.summary()


def test_finished_failed_and_other_processes_runs_are_counted_once(clock: Clock) -> None:
    display = made()
    for _ in range(2):
        display.take(
            0, Event("finished", Uploaded("id", RunResult(RUNS[0], [], {}, diverged=False)))
        )
        display.take(0, Event("elsewhere", frozenset({A, B})))
        display.take(1, Event("failed", (C, "run c", "why")))
    assert display.summary() == "demo: 4 of 6 runs done; 1 left; 1 failed"
    assert text(display).count("run c failed: why") == 1


def test_every_fleet_has_a_line_in_the_picture(clock: Clock) -> None:
    display = made(terminal=True)
    begin(display, 0, NAMES[:3])
    begin(display, 1, NAMES[3:])
    clock.now += 2
    display.take(1, Event("epoch", FleetEpoch(1, NAMES[3:], 0.25)))
    display.console.print(display._draw())
    lines = text(display).splitlines()
    assert len(lines) == 4
    assert "worker 0  fleet 0  3 runs  epoch 0/10" in lines[2]
    assert "worker 1  fleet 1  1 run   epoch 1/10  val 25.0%  500 images/s" in lines[3]
    display.take(0, Event("idle"))
    display.console.print(display._draw())
    assert len(text(display).splitlines()) == 4 + 3


def test_lines_are_not_wrapped_without_a_terminal(clock: Clock) -> None:
    display = made(width=80)
    display.say("x" * 300)
    assert text(display) == "x" * 300 + "\n"


def test_without_a_terminal_a_summary_comes_now_and_then(clock: Clock) -> None:
    display = made()
    begin(display, 0, NAMES)
    display.take(0, Event("epoch", FleetEpoch(1, NAMES, 0.5)))
    assert text(display) == ""
    clock.now += 16
    display.take(0, Event("tick"))
    display.take(0, Event("tick"))
    assert text(display).count("demo: ") == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (3700, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words
