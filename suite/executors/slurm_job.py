"""What runs in a job of SLURM: a worker, which leaves before its time limit and comes back."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import Checkpointable, DelayedSubmission

from suite.basics.streams import outlast_readers
from suite.executors.event_log import EventLog
from suite.executors.processes import reason
from suite.worker.messages import Event, Job

LONGEST_STOP = 30.0  # seconds that training gets to stop before its job is queued again


class WorkerJob(Checkpointable):  # type: ignore[misc]
    """Trains until nothing is left; submitit calls it in a job.

    submitit's signal before the time limit is answered in the main thread, wherever that stands.
    Training therefore runs beside it, is asked to stop, and can leave all in order.

    Parameters
    ----------
    job
        What to do.
    folder
        Where it writes what it has to tell.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self._stopping: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._ending: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"job": self.job, "folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self) -> None:
        """Train.

        Raises
        ------
        RuntimeError
            If the worker had to stop, so that SLURM shows the job as failed.
        """
        outlast_readers()
        environment = submitit.JobEnvironment()
        self._log = EventLog(events_file(self.folder, environment.job_id))
        self._errors = environment.paths.stderr
        self._stopping = stopping = threading.Event()
        # scancel, and preemption where SLURM itself queues the job again.
        signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
        self._thread = threading.Thread(target=self._train, name="training", daemon=True)
        self._thread.start()
        while self._thread.is_alive():  # a signal just before an endless wait would not end it
            self._thread.join(1.0)
        self._log.tell(Event("end", self._ending))
        if self._ending not in (None, "interrupted"):
            raise RuntimeError(self._ending)

    def _train(self) -> None:
        assert self._stopping is not None
        try:
            from suite.engine.fleet import Interrupted
            from suite.worker.worker import Worker

            try:
                with Worker(self.job, self._log.tell, self._stopping.is_set) as worker:
                    worker.run()
            except Interrupted:
                self._ending = "interrupted"
        except Exception as error:
            self._ending = reason(error, self._errors)

    def checkpoint(self) -> DelayedSubmission:
        """Stop, and give submitit what it queues again."""
        if self._stopping is not None and self._thread is not None:
            self._stopping.set()
            self._thread.join(LONGEST_STOP)
            self._log.tell(Event("idle"))
            line = f"worker {self.job.index} stopped in time for its job to be queued again"
            self._log.tell(Event("notice", line))
        return DelayedSubmission(WorkerJob(self.job, self.folder))


def events_file(folder: Path, job_id: str) -> Path:
    """Where the worker of a job writes what it has to tell."""
    return folder / f"{job_id}.events"
