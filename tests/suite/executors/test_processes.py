"""Workers as processes: replaced when they die, stopped when asked, never orphans."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine
from suite.executors import processes
from suite.executors.processes import ProcessExecutor, split_threads
from suite.worker.messages import Event, Job


def job(folder: Path, index: int = 0, threads: int = 0) -> Job:
    return Job(
        configs=[RunConfig()],
        parents={},
        experiment="sweep",
        tracking_uri="",
        state_dir=folder,
        machine=Machine(threads=threads),
        fleet=1,
        retries=1,
        workers=1,
        index=index,
    )


def good(_job: Job, pipe: Connection) -> None:
    pipe.send(Event("notice", "hello"))
    pipe.send(Event("end", None))


def dies(_job: Job, _pipe: Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_once(job: Job, pipe: Connection) -> None:
    mark = job.state_dir / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    good(job, pipe)


def dies_but_gets_on(job: Job, pipe: Connection) -> None:
    """Dies six times, an epoch further each time."""
    mark = job.state_dir / "epochs"
    epochs = int(mark.read_text()) if mark.exists() else 0
    if epochs < 6:
        mark.write_text(str(epochs + 1))
        pipe.send(Event("epoch", None))
        os.kill(os.getpid(), signal.SIGKILL)
    good(job, pipe)


def waits_for_sigterm(_job: Job, pipe: Connection) -> None:
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: asked.set())
    pipe.send(Event("notice", "ready"))
    asked.wait()
    pipe.send(Event("end", "interrupted"))


def stopped_once(job: Job, pipe: Connection) -> None:
    """Somebody sends SIGTERM to this worker alone."""
    mark = job.state_dir / "stopped"
    if not mark.exists():
        mark.touch()
        pipe.send(Event("end", "interrupted"))
        return
    good(job, pipe)


def stopped_every_time(_job: Job, pipe: Connection) -> None:
    pipe.send(Event("end", "interrupted"))


def deaf(_job: Job, pipe: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send(Event("notice", "ready"))
    time.sleep(600)


def hears_ctrl_c(_job: Job, pipe: Connection) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    good(_job, pipe)


def lingers(_job: Job, pipe: Connection) -> None:
    pipe.send(Event("end", None))
    time.sleep(600)


def prints(job: Job, pipe: Connection) -> None:
    processes._speak_into(processes.log_file(job))
    os.write(2, b"from C\n")
    print("from Python", flush=True)
    good(job, pipe)


@pytest.fixture
def execute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[int, Event]]]:
    """Run workers that do as a function says; all events but the ticks."""

    def run(work: Any, count: int = 1, stop_after: str = "") -> list[tuple[int, Event]]:
        monkeypatch.setattr(processes, "_work", work)
        executor = ProcessExecutor([job(tmp_path, index) for index in range(count)])
        seen: list[tuple[int, Event]] = []

        def stop() -> bool:
            return bool(stop_after) and any(e.content == stop_after for _, e in seen)

        for worker, event in executor.events(stop):
            if event.kind != "tick":
                seen.append((worker, event))
        assert not any(w.process.is_alive() for w in executor._workers)
        return seen

    return run


Execute = Callable[..., list[tuple[int, Event]]]


def test_all_events_of_all_workers_arrive(execute: Execute) -> None:
    seen = execute(good, count=2)
    for worker in (0, 1):
        mine = [event for index, event in seen if index == worker]
        assert mine == [Event("notice", "hello"), Event("end", None)]


def test_a_worker_that_dies_is_replaced(execute: Execute) -> None:
    (_, death), *rest = execute(dies_once)
    assert death.content == ("worker 0 died (exit -9); another one goes on from its checkpoints")
    assert [event.kind for _, event in rest] == ["notice", "end"]


def test_a_worker_that_dies_at_once_every_time_is_given_up(execute: Execute) -> None:
    seen = execute(dies)
    assert [event.kind for _, event in seen] == ["notice"] * 3 + ["end"]
    assert seen[-1][1].content == "worker 0 died (exit -9) 4 times in a row"


def test_a_worker_that_somebody_else_stops_is_replaced(execute: Execute) -> None:
    (_, stopped), *rest = execute(stopped_once)
    assert stopped.content == (
        "worker 0 was stopped by SIGTERM; another one goes on from its checkpoints"
    )
    assert [event.kind for _, event in rest] == ["notice", "end"]


def test_a_worker_that_somebody_else_stops_every_time_is_given_up(execute: Execute) -> None:
    seen = execute(stopped_every_time)
    assert seen[-1][1].content == "worker 0 was stopped by SIGTERM 4 times in a row"


def test_a_worker_that_dies_but_gets_on_is_replaced_without_end(execute: Execute) -> None:
    assert execute(dies_but_gets_on)[-1][1] == Event("end", None)


def test_workers_are_asked_to_stop(execute: Execute) -> None:
    seen = execute(waits_for_sigterm, stop_after="ready")
    assert seen[-1][1] == Event("end", "interrupted")


def test_a_worker_that_does_not_stop_is_killed_and_not_replaced(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LONGEST_STOP", 0.5)
    seen = execute(deaf, stop_after="ready")
    assert seen[-1][1] == Event("end", "interrupted")


def test_ctrl_c_does_not_reach_workers(execute: Execute) -> None:
    assert execute(hears_ctrl_c)[-1][1] == Event("end", None)


def test_a_worker_that_has_ended_but_stays_is_killed(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "EXIT_PATIENCE", 0.5)
    assert execute(lingers)[-1][1] == Event("end", None)


def test_what_libraries_print_goes_to_a_log(
    execute: Execute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    execute(prints)
    assert capfd.readouterr() == ("", "")
    log = tmp_path / "log" / "sweep-worker-0.txt"
    assert log.read_text() == "from C\nfrom Python\n"


def test_why_a_worker_stopped_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert processes.reason(OSError("no space\nat all"), tmp_path) == "no space"
    assert capfd.readouterr().err == ""
    reason = processes.reason(KeyError("a bug"), tmp_path / "log.txt")
    assert reason == f"KeyError: 'a bug' (traceback in {tmp_path / 'log.txt'})"
    assert "KeyError" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("cores", "count", "given", "shares"),
    [(8, 2, 0, 4), (2, 4, 0, 1), (7, 3, 0, 2), (8, 2, 3, 3)],
)
def test_cores_are_divided_unless_threads_are_set(
    tmp_path: Path, cores: int, count: int, given: int, shares: int
) -> None:
    jobs = [job(tmp_path, index, given) for index in range(count)]
    assert [j.machine.threads for j in split_threads(jobs, cores)] == [shares] * count
