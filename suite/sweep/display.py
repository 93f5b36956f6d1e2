"""What a person watches: a sweep's totals and a line per fleet, or the bar of one run.

Without a terminal it is plain lines, now and then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.worker.messages import Event, FleetEpoch, FleetStart

SECONDS_BETWEEN_LINES = 15.0  # of a sweep
SECONDS_BETWEEN_LINES_OF_A_RUN = 10.0
REFRESH_PER_SECOND = 4
BAR_WIDTH = 60


@dataclass
class FleetLine:
    """What one worker is doing."""

    start: FleetStart
    began: float
    runs: int
    epoch: int
    images: int = 0  # trained on so far, over all runs
    accuracy: float = 0.0


class Display:
    """The state of a sweep, drawn.

    Parameters
    ----------
    title
        The experiment's name.
    done
        Runs that were finished before this start.
    epochs
        Fingerprint of each run left to its epochs.
    """

    def __init__(self, title: str, done: int, epochs: Mapping[str, int]) -> None:
        self.title, self.before, self.epochs = title, done, epochs
        self.total = done + len(epochs)
        self.finished: set[str] = set()  # here or elsewhere
        self.failed: set[str] = set()
        self.reached = dict.fromkeys(epochs, 0)  # epochs by run
        # Kept up to date, not counted: with 62,500 runs, counting at each redraw took 0.08 s.
        self._epochs_left = self._all_epochs = sum(epochs.values())
        self.epochs_done = self.images_done = 0
        self._noticed: dict[str, int] = {}  # notice to the worker that gave it first
        self.fleets: dict[int, FleetLine] = {}
        self._spoken = self._began = time.monotonic()
        self._first_epoch_began: float | None = None  # before it: libraries, data, calibration
        self.console = Console(stderr=True, highlight=False)
        self._live = Live(
            console=self.console, refresh_per_second=REFRESH_PER_SECOND, get_renderable=self._draw
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def take(self, worker: int, event: Event) -> None:
        """Bring the picture up to date."""
        if event.kind == "fleet":
            start: FleetStart = event.content
            now = time.monotonic()
            self._first_epoch_began = self._first_epoch_began or now
            self.fleets[worker] = FleetLine(start, now, len(start.fingerprints), start.epoch)
            self._reach(start.fingerprints, start.epoch)
        elif event.kind == "epoch" and worker in self.fleets:
            self._epoch(self.fleets[worker], event.content)
        elif event.kind == "finished":
            self._end([event.content.result.config.fingerprint], self.finished)
        elif event.kind == "elsewhere":
            self._end(event.content, self.finished)
        elif event.kind == "failed" and event.content[0] not in self.failed:
            self._end([event.content[0]], self.failed)
            self.say(f"{event.content[1]} failed: {event.content[2]}")
        elif event.kind == "notice":
            # Workers notice the same things; one that repeats itself has a reason.
            if self._noticed.setdefault(event.content, worker) == worker:
                self.say(event.content)
        elif event.kind in ("end", "idle"):
            self.fleets.pop(worker, None)
        if not self.console.is_terminal:
            self._speak_now_and_then()

    def _epoch(self, line: FleetLine, done: FleetEpoch) -> None:
        line.epoch, line.runs, line.accuracy = done.epoch, len(done.fingerprints), done.accuracy
        line.images += line.runs * line.start.images
        self.images_done += line.runs * line.start.images
        self.epochs_done += line.runs
        self._reach(done.fingerprints, done.epoch)

    def _reach(self, fingerprints: Sequence[str], epoch: int) -> None:
        for fingerprint in fingerprints:
            if fingerprint not in self.finished and fingerprint not in self.failed:
                self._epochs_left -= epoch - self.reached[fingerprint]
            self.reached[fingerprint] = epoch

    def _end(self, fingerprints: Iterable[str], ended: set[str]) -> None:
        """Runs have finished, or failed; none of their epochs is left."""
        for fingerprint in fingerprints:
            if fingerprint in self.epochs:
                self._reach([fingerprint], self.epochs[fingerprint])
                ended.add(fingerprint)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, markup=False, soft_wrap=True)

    def summary(self) -> str:
        """Where the sweep stands, in one line."""
        finished = len(self.finished)
        running = sum(line.runs for line in self.fleets.values())
        left = len(self.epochs) - finished - len(self.failed)
        now = time.monotonic()
        seconds = max(now - (self._first_epoch_began or now), 1e-9)
        words = [
            f"{self.title}: {self.before + finished:,} of {self.total:,} runs done",
            f"{running} running, {max(left - running, 0):,} waiting" if running else f"{left} left",
        ]
        if self.failed:
            words.append(f"{len(self.failed)} failed")
        if self.epochs_done:
            rate = self.epochs_done / seconds
            words.append(f"{rate:,.1f} epochs/s, {self.images_done / seconds:,.0f} images/s")
            remaining = duration(self._epochs_left / rate)
            words.append(f"{remaining} to go" if running else f"took {duration(now - self._began)}")
        return "; ".join(words)

    def _draw(self) -> Group:
        total = max(self._all_epochs, 1)
        bar = Table.grid()  # a bar by itself does not end its line
        done = total - self._epochs_left
        bar.add_row(
            ProgressBar(total=total, completed=done, width=BAR_WIDTH), f" {done / total:.0%}"
        )
        table = Table.grid(padding=(0, 2))
        for worker, line in sorted(self.fleets.items()):
            speed = line.images / max(time.monotonic() - line.began, 1e-9)
            table.add_row(
                f"worker {worker}",
                line.start.name,
                f"{line.runs} run{'s' if line.runs > 1 else ''}",
                f"epoch {line.epoch}/{line.start.epochs}",
                f"val {line.accuracy:.1%}" if line.images else "",
                f"{speed:,.0f} images/s" if line.images else "starting",
            )
        return Group(Text(self.summary(), style="bold"), bar, table)

    def _speak_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._spoken > SECONDS_BETWEEN_LINES and self.epochs_done:
            self._spoken = now
            self.say(self.summary())


class RunDisplay:
    """The progress of a run that trains alone: a bar in a terminal, else a line now and then."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs  {task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._start: FleetStart | None = None
        self._began = self._spoken = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, start: FleetStart) -> None:
        """The run begins, or goes on."""
        self._start, self._began = start, time.monotonic()
        self._bar.start()
        self._bar.add_task(start.name, total=start.epochs, completed=start.epoch, note="starting")

    def advance(self, done: FleetEpoch) -> None:
        """An epoch is done."""
        assert self._start is not None
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = (done.epoch - self._start.epoch) * self._start.images / seconds
        note = f"val {done.accuracy:.1%}  {rate:,.0f} images/s"
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=done.epoch, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._spoken > SECONDS_BETWEEN_LINES_OF_A_RUN:
            self._spoken = now
            self.console.print(
                f"{self._start.name}: epoch {done.epoch} of {self._start.epochs}, {note}",
                highlight=False,
            )


def duration(seconds: float) -> str:
    """A time span in two units at most."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours)
    parts += [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * (not hours and not days)
    return " ".join(parts[:2])
