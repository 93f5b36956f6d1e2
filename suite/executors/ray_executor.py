"""Tasks of a Ray cluster, kept under way until nothing is left to train.

Ray starts a task again whose machine or process has died; the fleet's runs go on from their
checkpoints, since their leases died with it. As many tasks are under way as the cluster has room
for, also when machines come and go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from suite.executors.processes import REPLACEMENTS
from suite.executors.ray_task import Post, Return, train_one_fleet
from suite.state.place import log_folder
from suite.worker.messages import Event, Job

LONGEST_STOP = 8.0  # seconds that tasks get to stop before they are killed
RETRIES = 3  # of a task by Ray, when its machine or process dies
TICK = 0.25
REST = 30.0  # seconds until a worker that found everything held by others looks again
SHORT_REST = 5.0  # as long, if no task of this sweep is under way
BETWEEN_COUNTS = 10.0  # seconds between two looks at how much room the cluster has
SLOW_START = 60.0  # seconds after which a line says that tasks wait for room


@dataclass
class _Slot:
    """One worker: a task after another."""

    index: int
    task: Any = None
    heard: bool = False  # whether the task has begun
    deaths: int = 0  # in a row without any epoch done
    rests_since: float | None = None
    ended: bool = False


class RayExecutor:
    """Keeps tasks under way until nothing is left to train.

    Parameters
    ----------
    job
        What each task needs to know, all but its index.
    resources
        What each task gets, as Ray's options.
    room
        How many tasks may be under way.
    """

    going_on = ""  # tasks end with their sweep

    def __init__(self, job: Job, resources: Mapping[str, float], room: Callable[[], int]) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # With this process, so that no other machine's end takes it away.
        self._post = ray.remote(Post).options(num_cpus=0, scheduling_strategy=here).remote()
        # A process for each task (max_calls), since leases on files end with the process.
        self._task = ray.remote(max_calls=1)(train_one_fleet).options(
            **resources, max_retries=RETRIES, retry_exceptions=False, name="fleet"
        )
        self._home = ray.util.get_node_ip_address()
        self._job, self._shared = job, ray.put(job)
        self._room, self._counted = room, -BETWEEN_COUNTS
        self._slots: list[_Slot] = []
        self._began, self._told = time.monotonic(), False

    def events(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        """See :meth:`suite.executors.places.Executor.events`."""
        try:
            with self._log() as log, redirect_stdout(log):  # Ray prints what befalls machines
                yield from self._events(stop)
        finally:
            ray.shutdown()

    @contextmanager
    def _log(self) -> Iterator[TextIO]:
        folder = log_folder(self._job.state_dir, self._job.tracking_uri)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._job.experiment.replace('/', '-')}-ray.txt"
        with (folder / name).open("a", encoding="utf-8") as file:
            yield file

    def _events(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        asked: float | None = None
        while not self._slots or any(not slot.ended for slot in self._slots):
            if stop() and asked is None:
                asked = time.monotonic()
                yield from self._ask_to_stop()
            if asked is None:
                self._count()
                self._fill()
                yield from self._slow_start()
            elif time.monotonic() - asked > LONGEST_STOP:
                self._kill()
            tasks = [slot.task for slot in self._slots if slot.task is not None]
            if tasks:
                ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=TICK)
            else:
                ready = []
                time.sleep(TICK)
            yield from self._news()
            for slot in [slot for slot in self._slots if slot.task in ready]:
                yield from self._returned(slot, stopping=asked is not None)
            yield -1, Event("tick")

    def _count(self) -> None:
        """Have a slot for each worker that the cluster has room for now."""
        now = time.monotonic()
        if now - self._counted >= BETWEEN_COUNTS:
            self._counted = now
            new = range(len(self._slots), self._room())
            self._slots += [_Slot(index) for index in new]

    def _fill(self) -> None:
        busy = any(slot.task is not None for slot in self._slots)
        rest = REST if busy else SHORT_REST
        now = time.monotonic()
        for slot in self._slots:
            rested = slot.rests_since is None or now - slot.rests_since >= rest
            if not slot.ended and slot.task is None and rested:
                slot.heard, slot.rests_since = False, None
                slot.task = self._task.remote(self._shared, slot.index, self._post, self._home)

    def _slow_start(self) -> Iterator[tuple[int, Event]]:
        late = time.monotonic() - self._began > SLOW_START
        if late and not self._told and not any(slot.heard for slot in self._slots):
            self._told = True
            line = "no machine of the Ray cluster has room yet; `ray status` says what is asked for"
            yield -1, Event("notice", line)

    def _news(self) -> Iterator[tuple[int, Event]]:
        for index, event in ray.get(self._post.collect.remote()):
            slot = self._slots[index]
            slot.heard = True
            if event.kind == "epoch":
                slot.deaths = 0
            if event.kind != "tick":
                yield index, event

    def _returned(self, slot: _Slot, *, stopping: bool) -> Iterator[tuple[int, Event]]:
        """What comes next for a worker whose task has ended."""
        task, slot.task = slot.task, None
        try:
            end: Return = ray.get(task)
        except RayTaskError as error:  # it could not even begin
            cause = " ".join(str(error.cause or error).split())
            yield from self._end(slot, f"Ray: {cause}; is the suite installed on every machine?")
            return
        except RayError as error:
            how = f"worker {slot.index} died ({type(error).__name__})"
            yield from self._again(slot, how, stopping=stopping)
            return
        if stopping:
            yield from self._end(slot, "interrupted")
        elif end.found == "nothing":  # nor for those that rest
            for one in self._slots:
                if one is slot or (one.task is None and not one.ended):
                    yield from self._end(one, None)
        elif end.found in ("trained", "held"):
            slot.deaths = 0
            slot.rests_since = time.monotonic() if end.found == "held" else None
            yield slot.index, Event("idle")
        elif end.transient:
            yield from self._again(slot, f"worker {slot.index} stopped ({end.reason})")
        else:
            yield from self._end(slot, end.reason)

    def _again(
        self, slot: _Slot, how: str, *, stopping: bool = False
    ) -> Iterator[tuple[int, Event]]:
        slot.deaths += 1
        if stopping:
            yield from self._end(slot, "interrupted")
        elif slot.deaths <= REPLACEMENTS:
            yield slot.index, Event("idle")
            yield slot.index, Event("notice", f"{how}; another one goes on from its checkpoints")
            slot.rests_since = time.monotonic()
        else:
            yield from self._end(slot, f"{how} {slot.deaths} times in a row")

    def _end(self, slot: _Slot, reason: str | None) -> Iterator[tuple[int, Event]]:
        slot.ended = True
        yield slot.index, Event("end", reason)

    def _ask_to_stop(self) -> Iterator[tuple[int, Event]]:
        ray.get(self._post.stop.remote())
        if not self._slots:  # nothing was started yet
            self._slots.append(_Slot(0))
        for slot in self._slots:
            if slot.task is not None and not slot.heard:
                ray.cancel(slot.task, force=True)
            elif slot.task is None and not slot.ended:
                yield from self._end(slot, "interrupted")

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.task is not None:
                ray.cancel(slot.task, force=True)
