"""A Ray cluster: each task trains one fleet, on its cores and its GPU or part of one.

Ray starts a task again whose machine or process has died; the fleet's runs go on from their
checkpoints, since their leases died with it. As many tasks are under way as the cluster has room
for, also when machines come and go.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, TextIO

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from suite.basics.errors import first_line
from suite.basics.settings import ConfigError
from suite.executors import ray_alone
from suite.executors.placement import Placement, check_reach, gpus_of_a_worker, worker_machine
from suite.executors.processes import REPLACEMENTS
from suite.executors.ray_task import Post, Return, train_one_fleet
from suite.state.place import log_folder
from suite.worker.messages import Event, Job

ALONE = "local"  # Ray's word for a cluster that this process starts, and that ends with it
LONGEST_STOP = 8.0  # seconds that tasks get to stop before they are killed
RETRIES = 3  # of a task by Ray, when its machine or process dies
KNOCK_SECONDS = 10.0
TICK = 0.25
REST = 30.0  # seconds until a worker that found everything held by others looks again
SHORT_REST = 5.0  # as long, if no task of this sweep is under way
BETWEEN_COUNTS = 10.0  # seconds between two looks at how much room the cluster has
SLOW_START = 60.0  # seconds after which a line says that tasks wait for room


@dataclass(frozen=True)
class Room:
    """What a cluster has room for now."""

    workers: int
    machines: int


class RayCluster:
    """A Ray cluster that has been found, or started on this machine.

    Parameters
    ----------
    placement
        Its address, and what a worker gets.
    job, workers
        As in :func:`suite.executors.places.find_place`.

    Raises
    ------
    ConfigError
        If there is no such cluster, it has not what a worker needs, or its machines cannot reach
        the store.
    """

    def __init__(self, placement: Placement, job: Job, workers: int) -> None:
        self._address = placement.ray_address or os.environ.get("RAY_ADDRESS") or ALONE
        _connect(self._address)
        try:
            self._cpus = placement.cpus_per_worker
            there = ray.cluster_resources().get("GPU", 0) > 0
            self._gpus = gpus_of_a_worker(placement, job.machine.device, there=there)
            room = self._room()
            caution = check_reach(job, room.machines)
            if self._address == ALONE:
                caution += ray_alone.caution()
            if not room.workers and not workers:
                raise ConfigError(
                    f"cpus_per_worker: must fit into a machine of the cluster beside "
                    f"{self._gpus:g} GPUs, got {self._cpus}; give less"
                )
        except BaseException:
            ray.shutdown()
            raise
        self._most = min(workers or len(job.configs), len(job.configs))
        self._fixed = workers > 0
        count = self._most if self._fixed else min(room.workers, self._most)
        machine = job.machine.model_copy(update=worker_machine(job, placement, self._gpus))
        self._job = replace(job, machine=machine, workers=count)
        each = f"{self._cpus} CPU" + (f" and {self._gpus:g} GPU" if self._gpus else "")
        self.description = f"{count} Ray worker{'s' * (count > 1)} with {each}" + (
            f" each, on {room.machines} machine{'s' * (room.machines > 1)}{caution}"
        )

    def _room(self) -> Room:
        return _room(ray.nodes(), self._cpus, self._gpus)

    def start(self, parents: Mapping[str, str]) -> RayExecutor:
        """See :meth:`suite.executors.places.Place.start`."""
        job = replace(self._job, parents=parents)
        return RayExecutor(
            job,
            {"num_cpus": self._cpus, "num_gpus": self._gpus},
            self._width,
        )

    def _width(self) -> int:
        return self._most if self._fixed else min(self._room().workers, self._most)


def _connect(address: str) -> None:
    """Join a cluster, or start one.

    Raises
    ------
    ConfigError
        If there is none.
    """
    _knock(address)
    if address == ALONE:
        ray_alone.prepare()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is called unasked
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own: dict[str, Any] = {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            **(own if address == ALONE else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _no_cluster(address, first_line(error)) from None
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray puts its own in place, which exits at once


def _knock(address: str) -> None:
    """Ray itself takes minutes to find out that nobody answers."""
    if "://" in address:
        raise ConfigError(
            f"ray_address: must be HOST:PORT or auto, got {address}; start the command on a "
            "machine of the cluster, or with `ray job submit`"
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"ray_address: must lead to a Ray cluster that this machine is part of, got {address} "
        f"({reason.rstrip('.')}); `ray start --head` starts one, `ray status` shows it"
    )


def _room(nodes: list[dict[str, Any]], cpus: int, gpus: float) -> Room:
    """How many workers fit into the machines that are alive."""
    alive = [node for node in nodes if node["Alive"]]
    workers = 0
    for node in alive:
        has = node["Resources"]
        fits = int(has.get("CPU", 0) // cpus)
        if gpus:  # a worker's part is of one GPU, so a remainder of each is lost
            fits = min(fits, int(has.get("GPU", 0)) * int(1 / gpus + 1e-9))
        workers += fits
    machines = {node["NodeManagerAddress"] for node in alive}
    return Room(workers, len(machines))


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
