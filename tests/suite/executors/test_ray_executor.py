"""Tasks kept under way: whoever rests, dies or does not stop, the sweep ends as it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from suite.worker.messages import Event

pytest.importorskip("ray", reason="the extra ray is not installed")

from suite.executors import ray_executor
from suite.executors.ray_executor import RayExecutor
from suite.executors.ray_task import Post, Return


class Cluster:
    """Stands for Ray: its tasks end as a script says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: list[Any], width: int) -> None:
        self.script, self.post, self.started = script, Post(), 0
        self.cancelled: list[object] = []
        monkeypatch.setattr(ray_executor, "REST", 0.0)
        monkeypatch.setattr(ray_executor, "SHORT_REST", 0.0)
        monkeypatch.setattr(ray_executor, "TICK", 0.01)
        monkeypatch.setattr(ray_executor, "LONGEST_STOP", 0.05)
        monkeypatch.setattr(ray_executor.ray, "wait", self.wait)
        monkeypatch.setattr(ray_executor.ray, "get", self.get)
        monkeypatch.setattr(ray_executor.ray, "cancel", self.cancel)
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
                slot.task = ray_executor.ray.exceptions.TaskCancelledError()

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
    return ray_executor.ray.exceptions.WorkerCrashedError()


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
    monkeypatch.setattr(ray_executor, "REST", 1e9)
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
