"""How far training is: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.engine.fleet import Fleet
from suite.engine.runs import EpochOutcome

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """The progress of one fleet after another."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs  {task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._spoken = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, configs: Sequence[RunConfig], data: ImageData, epoch: int) -> None:
        """Begin a fleet that stands at `epoch`."""
        self.stop()
        self._images = len(data.train)
        self._began, self._first = time.monotonic(), epoch
        name = configs[0].run_name if len(configs) == 1 else f"{len(configs)} runs"
        self._bar.start()
        self._task = self._bar.add_task(
            name, total=configs[0].epochs, completed=epoch, note="starting"
        )

    def advance(self, _fleet: Fleet, outcome: EpochOutcome) -> None:
        """An epoch is done."""
        if self._task is None or not outcome.records:
            return
        records = list(outcome.records.values())
        epoch = records[0].epoch
        seconds = time.monotonic() - self._began
        rate = (epoch - self._first) * self._images * len(records) / max(seconds, 1e-9)
        accuracy = sum(r.val_accuracy for r in records) / len(records)
        note = f"val {accuracy:.1%}  {rate:,.0f} images/s"
        self._bar.update(self._task, completed=epoch, note=note)
        spoke = time.monotonic() - self._spoken
        if not self.console.is_terminal and spoke > SECONDS_BETWEEN_LINES:
            self._spoken = time.monotonic()
            task = self._bar.tasks[self._task]
            self.console.print(
                f"{task.description}: epoch {epoch} of {task.total:.0f}, {note}", highlight=False
            )

    def stop(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None
