"""Jobs of workers, with what a test does not care about filled in, and places to do them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine
from suite.worker.messages import Event, Job
from suite.worker.worker import Worker


def some_job(folder: Path, **changes: Any) -> Job:
    """A worker's job: one run of the defaults, on one thread, store and state in `folder`."""
    whole: dict[str, Any] = {
        "configs": [RunConfig()],
        "parents": {},
        "experiment": "sweep",
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "state_dir": folder / "state",
        "machine": Machine(threads=1, device="cpu"),
        "fleet": 4,
        "retries": 1,
        "workers": 1,
        "index": 0,
    }
    return Job(**(whole | changes))


class WholeWorker(Worker):
    """A worker whose `run` is all of its life: at the end it has waited for MLflow."""

    def run(self) -> None:
        with self:
            super().run()


class ThisProcess:
    """A place with one worker, without the seconds that a process of its own needs to begin."""

    description = "1 worker"
    going_on = ""

    def __init__(self, job: Job) -> None:
        self.job = job

    def start(self, parents: Mapping[str, str]) -> Self:
        self.job = replace(self.job, parents=parents)
        return self

    def events(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        told: list[Event] = []
        WholeWorker(self.job, told.append, stop).run()
        yield from ((0, event) for event in [*told, Event("end")])
