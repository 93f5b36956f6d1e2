"""Sweeps on Ray: the same numbers as on one machine, whoever is stopped or killed meanwhile.

The real command on a real cluster; two machines are two of Ray's nodes on this one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sweep_commands import EPOCHS, RUNS, SMALL, Place, Reference, assert_undisturbed

from suite.worker.messages import Event

pytest.importorskip("ray", reason="the extra ray is not installed")

from suite.executors import ray_cluster
from suite.executors.ray_cluster import RayExecutor, Room
from suite.executors.ray_task import Post, Return

LONGEST_STOP = 15.0  # seconds, the end of Ray's own processes included
RAY = (*SMALL, "--executor", "ray")


def test_a_post_hands_on_each_event_once_and_asks_to_stop() -> None:
    post = Post()
    assert post.exchange(1, [Event("idle")]) is False
    assert post.collect() == [(1, Event("idle"))]
    assert post.collect() == []
    post.stop()
    assert post.exchange(1, []) is True
    assert post.begin(2, "task", "10.0.0.1") is True


def test_a_task_that_begins_again_is_told_of_and_the_next_one_is_not() -> None:
    post = Post()
    for task in ("first", "first", "second"):
        post.begin(0, task, "10.0.0.2")
    notices = [event.content for _, event in post.collect() if event.kind == "notice"]
    assert notices == ["worker 0 has died; Ray goes on from its checkpoints on 10.0.0.2"]


def node(cpus: float, gpus: float = 0, address: str = "10.0.0.1", alive: bool = True) -> Any:
    has = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return {"Alive": alive, "NodeManagerAddress": address, "Resources": has}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "room"),
    [
        ([node(8)], 2, 0.0, Room(4, 1)),
        ([node(3), node(3, address="10.0.0.2")], 2, 0.0, Room(2, 2)),
        ([node(8, 2)], 1, 1.0, Room(2, 1)),
        ([node(64, 2)], 1, 0.3, Room(6, 1)),
        ([node(2, 8)], 1, 0.1, Room(2, 1)),
        ([node(8), node(8, address="10.0.0.2", alive=False)], 1, 0.0, Room(8, 1)),
        ([node(8)], 16, 0.0, Room(0, 1)),
    ],
)
def test_room_is_counted_by_machine_and_by_gpu(
    nodes: list[Any], cpus: int, gpus: float, room: Room
) -> None:
    assert ray_cluster._room(nodes, cpus, gpus) == room


class Cluster:
    """Stands for Ray: its tasks end as a script says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: list[Any], width: int) -> None:
        self.script, self.post, self.started = script, Post(), 0
        self.cancelled: list[object] = []
        monkeypatch.setattr(ray_cluster, "REST", 0.0)
        monkeypatch.setattr(ray_cluster, "SHORT_REST", 0.0)
        monkeypatch.setattr(ray_cluster, "TICK", 0.01)
        monkeypatch.setattr(ray_cluster, "LONGEST_STOP", 0.05)
        monkeypatch.setattr(ray_cluster.ray, "wait", self.wait)
        monkeypatch.setattr(ray_cluster.ray, "get", self.get)
        monkeypatch.setattr(ray_cluster.ray, "cancel", self.cancel)
        self.executor = RayExecutor.__new__(RayExecutor)
        self.executor._post = _Remote(self.post)
        self.executor._task = _Remote(self)
        self.executor._shared = self.executor._home = None
        self.executor._room, self.executor._counted = lambda: width, -1e9
        self.executor._slots, self.executor._began, self.executor._told = [], 0.0, True

    def remote(self, _job: object, index: int, _post: object, _home: object) -> Any:
        self.started += 1
        self.post.begin(index, str(self.started), "here")
        return self.script.pop(0)() if self.script else Return("nothing")

    def wait(self, tasks: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return [task for task in tasks if task != "runs"], []

    def get(self, task: Any) -> Any:
        if isinstance(task, Exception):
            raise task
        return task

    def cancel(self, task: Any, *, force: bool) -> None:
        assert force
        self.cancelled.append(task)
        for slot in self.executor._slots:
            if slot.task is task:
                slot.task = ray_cluster.ray.exceptions.TaskCancelledError()

    def run(self, stop: Callable[[], bool] = lambda: False) -> list[tuple[int, Event]]:
        return [(i, e) for i, e in self.executor._events(stop) if e.kind != "tick"]


class _Remote:
    """Calls at once what Ray would call elsewhere."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        return method if name == "remote" else type("Call", (), {"remote": staticmethod(method)})


def trained() -> Return:
    return Return("trained")


def held() -> Return:
    return Return("held")


def away() -> Return:
    return Return("failed", "MLflow does not answer", transient=True)


def no_data() -> Return:
    return Return("failed", "data_dir: nowhere")


def crash() -> Exception:
    return ray_cluster.ray.exceptions.WorkerCrashedError()


def runs() -> str:
    return "runs"


def test_a_worker_takes_one_fleet_after_another_until_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, [trained, held, trained], width=1)
    assert cluster.run() == [(0, Event("idle"))] * 3 + [(0, Event("end", None))]
    assert cluster.started == 4


def test_a_worker_that_rests_ends_when_another_finds_nothing_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, [held], width=2)
    monkeypatch.setattr(ray_cluster, "REST", 1e9)
    ends = [(index, event.content) for index, event in cluster.run() if event.kind == "end"]
    assert sorted(ends) == [(0, None), (1, None)]
    assert cluster.started == 2


def test_a_worker_that_keeps_dying_is_given_up_and_one_that_gets_on_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, [crash] * 4, width=1)
    assert cluster.run()[-1] == (
        0,
        Event("end", "worker 0 died (WorkerCrashedError) 4 times in a row"),
    )
    cluster = Cluster(monkeypatch, [crash, crash, trained] * 3, width=1)
    assert cluster.run()[-1] == (0, Event("end", None))


def test_an_absent_server_is_tried_again_and_absent_data_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, [away], width=1)
    assert cluster.run()[-1] == (0, Event("end", None))
    cluster = Cluster(monkeypatch, [no_data], width=1)
    assert cluster.run() == [(0, Event("end", "data_dir: nowhere"))]


def test_what_does_not_stop_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, [runs], width=1)
    assert cluster.run(lambda: cluster.started > 0) == [(0, Event("end", "interrupted"))]
    assert cluster.cancelled == ["runs"]


def test_stopped_before_anything_began_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, [], width=2)
    assert cluster.run(lambda: True) == [(0, Event("end", "interrupted"))]
    assert cluster.started == 0


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_a_cluster_that_is_not_there_is_one_line(place: Place, address: str) -> None:
    command = place.start((*RAY, "--ray-address", address))
    assert command.wait(60) == 2
    (line,) = command.text.splitlines()
    assert line.startswith("error: ray_address: must ")
    assert address in line


@pytest.mark.slow
def test_ctrl_c_stops_the_cluster_and_the_next_start_gives_the_numbers_of_processes(
    place: Place, reference: Reference
) -> None:
    command = place.begin(RAY)
    start = time.monotonic()
    command.signal(signal.SIGINT)
    assert command.wait() == 130, command.text
    assert time.monotonic() - start < LONGEST_STOP
    assert "interrupted; the same command goes on" in command.text
    assert "Traceback" not in command.text
    states = {status for (status,) in place.rows("SELECT status FROM runs")}
    assert "RUNNING" not in states
    assert f"{RUNS} of {RUNS} runs done" in place.finish(RAY).text
    assert_undisturbed(place, reference)


def runs_with_epochs(place: Place) -> int:
    """Runs of which MLflow has an epoch."""
    if place.epochs_logged() == 0:
        return 0
    ((count,),) = place.rows("SELECT count(DISTINCT run_uuid) FROM metrics WHERE key = 'val_loss'")
    return int(str(count))


@pytest.fixture
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A Ray cluster and the node of it which may be killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster, cluster.add_node(num_cpus=1)
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_fleets_of_a_node_that_dies_go_on_from_their_checkpoints(
    place: Place, reference: Reference, two_nodes: tuple[Any, Any]
) -> None:
    cluster, victim = two_nodes
    command = place.start((*RAY, "--ray-address", cluster.address))
    command.wait_until(lambda: runs_with_epochs(place) == 4, "epochs of both fleets")
    cluster.remove_node(victim, allow_graceful=False)
    assert place.epochs_logged() < RUNS * EPOCHS, "the node was killed too late to matter"
    assert command.wait() == 0, command.text
    assert "2 Ray workers" in command.text
    assert "has died; Ray goes on from its checkpoints" in command.text
    assert_undisturbed(place, reference)


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_tasks_with_it(
    place: Place, reference: Reference
) -> None:
    command = place.begin((*RAY, "--set", f"epochs={EPOCHS}"))
    os.kill(command.process.pid, signal.SIGKILL)
    command.wait()
    place.finish(RAY)
    assert_undisturbed(place, reference)
