"""A sweep as a person watches it: totals and a line per fleet; plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.jobs import Event

SECONDS_BETWEEN_LINES = 15.0
REFRESH_PER_SECOND = 4


@dataclass
class FleetLine:
    """What one worker is doing."""

    name: str
    runs: int
    epochs: int
    epoch: int
    began: float
    first_epoch: int
    accuracy: float = 0.0


class Display:
    """The state of a sweep, drawn.

    Parameters
    ----------
    title
        The experiment's name.
    total, done
        Runs of the experiment, and those finished before this start.
    epochs_left
        Epochs that the runs left have to go, summed over runs.
    images
        Training images of the data set.
    """

    def __init__(
        self, title: str, total: int, done: int, epochs_left: int, images: int
    ) -> None:
        self.title, self.total, self.before, self.images = title, total, done, images
        self.finished, self.failed = 0, 0
        self.epochs_left, self.epochs_done = epochs_left, 0
        self.fleets: dict[int, FleetLine] = {}
        self._spoken = self._began = time.monotonic()
        self.console = Console(stderr=True, highlight=False)
        self._live = Live(
            console=self.console, refresh_per_second=REFRESH_PER_SECOND, get_renderable=self._draw
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def take(self, worker: int, event: Event) -> None:
        """Bring the picture up to date."""
        if event.kind == "fleet":
            name, runs, epochs, epoch = event.content
            line = FleetLine(name, runs, epochs, epoch, time.monotonic(), epoch)
            self.fleets[worker] = line
        elif event.kind == "epoch" and worker in self.fleets:
            line = self.fleets[worker]
            line.epoch, runs, line.accuracy = event.content
            self.epochs_done += runs
        elif event.kind == "finished":
            self.finished += 1
        elif event.kind == "failed":
            self.failed += 1
            self.say(f"{event.content[1]} failed: {event.content[2]}")
        elif event.kind == "notice":
            self.say(event.content)
        elif event.kind in ("end", "idle"):
            self.fleets.pop(worker, None)
        if not self.console.is_terminal:
            self._speak_now_and_then()

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, markup=False)

    def summary(self) -> str:
        """Where the sweep stands, in one line."""
        left = self.total - self.before - self.finished - self.failed
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = self.epochs_done / seconds
        words = [
            f"{self.title}: {self.before + self.finished} of {self.total} runs done",
            f"{left} left",
        ]
        if self.failed:
            words.append(f"{self.failed} failed")
        if self.epochs_done:
            remaining = max(self.epochs_left - self.epochs_done, 0) / rate
            words.append(f"{rate:,.1f} epochs/s, {rate * self.images:,.0f} images/s")
            words.append(f"{_duration(remaining)} to go" if left else f"took {_duration(seconds)}")
        return "; ".join(words)

    def _draw(self) -> Group:
        lines: list[Table | Text | ProgressBar] = [
            Text(self.summary(), style="bold"),
            ProgressBar(total=max(self.epochs_left, 1), completed=self.epochs_done),
        ]
        table = Table.grid(padding=(0, 2))
        for worker, line in sorted(self.fleets.items()):
            seconds = max(time.monotonic() - line.began, 1e-9)
            speed = (line.epoch - line.first_epoch) * line.runs * self.images / seconds
            table.add_row(
                f"worker {worker}",
                line.name,
                f"{line.runs} run{'s' if line.runs > 1 else ''}",
                f"epoch {line.epoch}/{line.epochs}",
                f"val {line.accuracy:.1%}" if line.epoch else "",
                f"{speed:,.0f} images/s" if line.epoch > line.first_epoch else "starting",
            )
        return Group(*lines, table)

    def _speak_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._spoken > SECONDS_BETWEEN_LINES and self.epochs_done:
            self._spoken = now
            self.say(self.summary())


def _duration(seconds: float) -> str:
    """A time span in two units at most."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours)
    parts += [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * (not hours and not days)
    return " ".join(parts[:2])


def failures_table(failures: Sequence[tuple[str, str, str]]) -> str:
    """The runs that failed, with their reasons, a line each."""
    return "\n".join(f"  {name} ({fingerprint}): {why}" for fingerprint, name, why in failures)
