"""What runs on a Ray cluster: a fleet's training, and the actor by which sweep and tasks talk."""

from __future__ import annotations

import math
import os
import threading
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import ray
from ray.exceptions import RayError

from suite.basics.streams import outlast_readers
from suite.executors.placement import check_reach
from suite.executors.processes import log_file, reason
from suite.worker.messages import Event, Found, Job

BEAT = 0.5  # seconds between two exchanges with the sweep


@dataclass(frozen=True)
class Return:
    """How a task ended.

    Attributes
    ----------
    reason, transient
        Why it failed, and whether trying again may help.
    """

    found: Found | Literal["interrupted", "failed"]
    reason: str = ""
    transient: bool = False


class Post:
    """Takes what tasks have to say until the sweep collects it, and tells them when to stop."""

    def __init__(self) -> None:
        self._events: list[tuple[int, Event]] = []
        self._stop = False
        self._tasks: dict[int, str] = {}

    def begin(self, index: int, task: str, machine: str) -> bool:
        """A task has begun, maybe for another time; whether it should stop."""
        if self._tasks.get(index) == task:
            line = f"worker {index} has died; Ray goes on from its checkpoints on {machine}"
            self._events.append((index, Event("notice", line)))
        self._tasks[index] = task
        self._events.append((index, Event("tick")))
        return self._stop

    def exchange(self, index: int, events: list[Event]) -> bool:
        """Take events; whether the task should stop."""
        self._events += [(index, event) for event in events]
        return self._stop

    def collect(self) -> list[tuple[int, Event]]:
        """What has come since the last time, in its order."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """All tasks should stop."""
        self._stop = True


class Line:
    """A task's line to the post, used now and then so that training never waits for it.

    Parameters
    ----------
    post
        The actor.
    index
        Which worker speaks.
    """

    def __init__(self, post: Any, index: int) -> None:
        self._post, self._index = post, index
        self._events: list[Event] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="post", daemon=True)

    def __enter__(self) -> Self:
        context = ray.get_runtime_context()
        task, machine = str(context.get_task_id()), ray.util.get_node_ip_address()
        if ray.get(self._post.begin.remote(self._index, task, machine)):
            self.stopping.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._exchange()

    def tell(self, event: Event) -> None:
        """Say something, at the next occasion."""
        with self._lock:
            self._events.append(event)

    def _run(self) -> None:
        while not self._closing.wait(BEAT):
            self._exchange()

    def _exchange(self) -> None:
        with self._lock:
            events, self._events = self._events, []
        try:
            if ray.get(self._post.exchange.remote(self._index, events)):
                self.stopping.set()
        except RayError:  # the sweep is gone
            self.stopping.set()


def train_one_fleet(job: Job, index: int, post: Any, home: str) -> Return:
    """Train one fleet to its end, if there is one that nobody else trains.

    Parameters
    ----------
    job
        What to do.
    index
        Which worker of the sweep this is.
    post
        The actor to which events go.
    home
        The address of the machine on which the sweep was started.
    """
    outlast_readers()
    with Line(post, index) as line:
        if line.stopping.is_set():
            return Return("interrupted")
        mine = replace(job, index=index, neighbours=neighbours(job))
        try:
            # Machines may join a cluster after its sweep was checked.
            check_reach(job, 1 if ray.util.get_node_ip_address() == home else 2)
            return _train(mine, line)
        except Exception as error:
            from suite.tracking.store import is_transient

            log = log_file(mine)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file, redirect_stderr(file):
                return Return("failed", reason(error, log), is_transient(error))


def _train(job: Job, line: Line) -> Return:
    from suite.engine.fleet import Interrupted
    from suite.worker.worker import Worker

    try:
        with Worker(job, line.tell, line.stopping.is_set) as worker:
            return Return(worker.run_one().found)
    except Interrupted:
        return Return("interrupted")


def neighbours(job: Job) -> int:
    """How many workers share this one's GPU, or this machine."""
    if job.machine.device == "cuda":
        share = float(ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0))
        return math.floor(1 / share + 1e-9)
    return max(1, (os.cpu_count() or 1) // job.machine.threads)
