"""Workers as processes of this machine, watched over by the sweep.

A worker that dies, or that somebody else stops, is replaced; what it trained goes on from its
checkpoints, since its leases ended with it. A worker whose sweep has died stops by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from suite.basics.errors import first_line
from suite.basics.stopping import HANGUP
from suite.basics.streams import outlast_readers
from suite.declarations.machine import Machine
from suite.state.place import log_folder
from suite.worker.messages import Event, Job

LONGEST_STOP = 6.0  # seconds that workers get to stop before they are killed
REPLACEMENTS = 3  # of a worker that dies or is stopped, in a row without any epoch done
TICK = 0.25
PARENT_TICK = 1.0
EXIT_PATIENCE = 1.0  # seconds that a worker which has told its end gets to exit


@dataclass
class _Worker:
    job: Job
    process: BaseProcess
    pipe: Connection
    deaths: int = 0
    ended: bool = False


class LocalProcesses:
    """The processors of this machine.

    Parameters
    ----------
    job
        What each worker needs to know; how many there are stands in it.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.description = f"{job.workers} worker{'s' if job.workers > 1 else ''}"

    def start(self, parents: Mapping[str, str]) -> ProcessExecutor:
        """See :meth:`suite.executors.places.Place.start`."""
        machine = self._job.machine
        jobs = [
            replace(
                self._job,
                parents=parents,
                machine=machine.model_copy(update={"device": device}),
                index=index,
            )
            for index, device in enumerate(devices(machine, self._job.workers))
        ]
        return ProcessExecutor(split_threads(jobs))


class ProcessExecutor:
    """Runs jobs in processes of this machine.

    Parameters
    ----------
    jobs
        One for each worker.
    """

    going_on = ""  # workers end with their sweep

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # its own start would undo the mask below
        self._workers = [self._start(job) for job in jobs]

    def _start(self, job: Job, deaths: int = 0) -> _Worker:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(job, theirs), daemon=True)
        with ctrl_c_masked():
            process.start()
        theirs.close()
        return _Worker(job, process, ours, deaths)

    def events(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        """Worker index and event, until all workers have ended.

        Between events it yields a `tick` now and then, so that a caller can redraw.

        Parameters
        ----------
        stop
            Whether to end early; workers are then asked to stop, and killed if they do not.
        """
        asked: float | None = None
        while any(not worker.ended for worker in self._workers):
            if stop() and asked is None:
                asked = time.monotonic()
                self._signal(signal.SIGTERM)
            if asked is not None and time.monotonic() - asked > LONGEST_STOP:
                self._signal(signal.SIGKILL)
            yield from self._received(stop)
            yield -1, Event("tick")

    def _received(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        by_pipe = {worker.pipe: worker for worker in self._workers if not worker.ended}
        for pipe in wait(list(by_pipe), TICK):
            worker = by_pipe[pipe]  # type: ignore[index]
            index = worker.job.index
            try:
                event = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                how = f"died (exit {worker.process.exitcode})"
                yield from self._lost(worker, how, replacing=not stop())
                continue
            if event.kind == "epoch":
                worker.deaths = 0
            if event.kind == "end":
                worker.ended = True
                worker.process.join(EXIT_PATIENCE)
                if worker.process.is_alive():  # a request to a server that does not answer
                    worker.process.kill()
                    worker.process.join()
                if event.content == "interrupted" and not stop():  # we have not asked it to
                    yield from self._lost(worker, "was stopped by SIGTERM", replacing=True)
                    continue
            yield index, event

    def _lost(self, worker: _Worker, how: str, *, replacing: bool) -> Iterator[tuple[int, Event]]:
        """A worker has ended before its work was done."""
        worker.ended = True
        index = worker.job.index
        how = f"worker {index} {how}"
        if not replacing:
            yield index, Event("end", "interrupted")
            return
        if worker.deaths < REPLACEMENTS:
            yield index, Event("notice", f"{how}; another one goes on from its checkpoints")
            place = self._workers.index(worker)
            self._workers[place] = self._start(worker.job, worker.deaths + 1)
        else:
            yield index, Event("end", f"{how} {REPLACEMENTS + 1} times in a row")

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if not worker.ended and worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, number)


@contextmanager
def ctrl_c_masked() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, which reaches the whole process group.

    The sweep asks them to stop, once, by SIGTERM.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def default_workers(machine: Machine) -> int:
    """Worker processes that suit the machine: one per GPU, else one per CPU core.

    Small convolutions do not speed up with threads, so on a CPU single-threaded workers side by
    side are fastest (docs/LOG.md).
    """
    if machine.device in ("auto", "cuda"):
        import torch

        if torch.cuda.is_available():
            return torch.cuda.device_count()
    return 1 if machine.device.startswith(("cuda:", "mps")) else len(os.sched_getaffinity(0))


def devices(machine: Machine, workers: int) -> list[str]:
    """The device of each worker: GPUs in turn."""
    if machine.device in ("auto", "cuda"):
        import torch

        if torch.cuda.is_available():
            return [f"cuda:{index % torch.cuda.device_count()}" for index in range(workers)]
    return [machine.device] * workers


def threads_of_one(workers: int, cores: int = 0) -> int:
    """Threads of each worker on this machine; `cores` 0 are those that this process may use."""
    return max(1, (cores or len(os.sched_getaffinity(0))) // workers)


def split_threads(jobs: Sequence[Job], cores: int = 0) -> list[Job]:
    """The jobs with the machine's cores divided among them, unless threads are set."""
    share = threads_of_one(len(jobs), cores)
    return [
        job
        if job.machine.threads
        else replace(job, machine=job.machine.model_copy(update={"threads": share}))
        for job in jobs
    ]


def _work(job: Job, pipe: Connection) -> None:
    """A worker process: trains until nothing is left, and says how it ended."""
    stopping = threading.Event()
    for number in (signal.SIGINT, *HANGUP):  # meant for the sweep, which then asks
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            try:
                pipe.send(event)
            except OSError:  # the sweep is gone
                stopping.set()

    _watch_parent(stopping)
    log = log_file(job)
    _speak_into(log)
    ending: str | None = None
    try:
        from suite.engine.fleet import Interrupted
        from suite.worker.worker import Worker

        try:
            with Worker(job, tell, stopping.is_set) as worker:
                worker.run()
        except Interrupted:
            ending = "interrupted"
    except Exception as error:
        ending = reason(error, log)
    tell(Event("end", ending))


def log_file(job: Job) -> Path:
    """Where a worker's warnings and tracebacks go."""
    folder = log_folder(job.state_dir, job.tracking_uri)
    return folder / f"{job.experiment.replace('/', '-')}-worker-{job.index}.txt"


def _speak_into(log: Path) -> None:
    """Send what libraries print, from any language, to the log instead of the sweep's terminal."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError:  # training will say so itself, if the disk is full
        target = os.open(os.devnull, os.O_WRONLY)
    outlast_readers()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(target, stream.fileno())
    os.close(target)


def reason(error: Exception, log: Path) -> str:
    """Why a worker stopped, in one line; what is no known trouble has its traceback in the log."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from suite.basics.settings import ConfigError
    from suite.data.parts import DataError
    from suite.engine.checkpoint import CheckpointError
    from suite.worker.write_queue import WriteError

    known = (
        *(CheckpointError, DataError, ConfigError, WriteError),
        *(MlflowException, SQLAlchemyError, OSError),
    )
    text = str(error).strip()
    if isinstance(error, known) and text:
        return first_line(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {' '.join(text.split())} (traceback in {log})"


def _watch_parent(stopping: threading.Event) -> None:
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while parent is not None and parent.is_alive():
            time.sleep(PARENT_TICK)
        stopping.set()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
