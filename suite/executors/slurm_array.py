"""A job array of SLURM: each of its jobs is a worker, which trains until nothing is left.

submitit writes the batch files, and queues a job again before its time limit ends it. The
command that submits them watches them, and may leave them at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from suite.basics.settings import ConfigError
from suite.executors.event_log import EventTail
from suite.executors.placement import Placement, check_reach, gpus_of_a_worker, worker_machine
from suite.executors.processes import ctrl_c_masked
from suite.executors.slurm_job import WorkerJob, events_file
from suite.executors.slurm_queue import Machines, QueueAwayError, jobs_called, machines, states
from suite.state.place import log_folder
from suite.worker.messages import Event, Job

SIGNAL_DELAY = 90  # seconds before the time limit at which a job leaves; a third, if it is short
TICK = 0.5
BETWEEN_LOOKS = 10.0  # seconds between two questions to SLURM's queue
LAST_WORDS = 15.0  # seconds for the file system to show what a job wrote before it ended
LOCAL = "local"
CANCELLED = Event("end", "interrupted")


class SlurmArray:
    """A cluster that has been asked what it has; nothing is submitted yet.

    Parameters
    ----------
    placement
        What to ask of it.
    job
        As in :func:`suite.executors.places.find_place`.

    Raises
    ------
    ConfigError
        If SLURM is not there, or its machines cannot reach the store.
    """

    def __init__(self, placement: Placement, job: Job) -> None:
        here = socket.gethostname().partition(".")[0]
        local = placement.slurm_cluster == LOCAL
        there = (
            Machines(frozenset([here]), gpus=placement.gpus_per_worker == "1")
            if local
            else machines(placement.slurm_partition)
        )
        caution = check_reach(job, len({name.partition(".")[0] for name in there.names} | {here}))
        self._gpus = int(gpus_of_a_worker(placement, job.machine.device, there=there.gpus))
        machine = job.machine.model_copy(update=worker_machine(job, placement, self._gpus))
        self._placement, self._job = placement, replace(job, machine=machine)
        if not local:  # a job has its cores and its GPU to itself
            self._job = replace(self._job, neighbours=1)
        beside = log_folder(job.state_dir, job.tracking_uri).parent / "slurm"
        self._folder = Path(placement.slurm_folder or beside).expanduser().resolve()
        self._name = job_name(job)
        self._queued = [] if local else jobs_called(self._name)
        count = len(self._queued) or job.workers
        jobs = f"{count} {'local' if local else 'SLURM'} job{'s' * (count > 1)}"
        if self._queued:
            jobs += " of an earlier start, so no new ones"
        self.description = f"{jobs} (named {self._name}){caution}"

    def start(self, parents: Mapping[str, str]) -> SlurmWatch:
        """Submit the jobs, unless earlier ones are in the queue."""
        if self._queued:
            return SlurmWatch(self._folder, self._queued, self._placement, known=True)
        jobs = self._submit(replace(self._job, parents=parents))
        ids = [job.job_id for job in jobs]
        return SlurmWatch(self._folder, ids, self._placement, jobs=jobs)

    def _submit(self, job: Job) -> Sequence[submitit.Job[None]]:
        calls = [WorkerJob(replace(job, index=index), self._folder) for index in range(job.workers)]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            executor = submitit.AutoExecutor(
                folder=self._folder,
                cluster=self._placement.slurm_cluster,
                slurm_max_num_timeout=self._placement.slurm_requeues,
                local_max_num_timeout=self._placement.slurm_requeues,
            )
            executor.update_parameters(**self._parameters())
            with ctrl_c_masked():  # as jobs are in a queue
                return list(executor.submit_array(calls))
        except (FailedJobError, FailedSubmissionError) as error:
            said = [line for line in str(error).splitlines() if "error:" in line] or [str(error)]
            raise ConfigError(
                f"executor: slurm must accept the jobs, got {said[0].strip()}; "
                "see --slurm-partition, --slurm-account and --slurm-parameters"
            ) from None

    def _parameters(self) -> dict[str, Any]:
        asked = self._placement
        limit = asked.slurm_time_limit
        return {  # what is None is left to SLURM
            "name": self._name,
            "timeout_min": limit,
            "nodes": 1,
            "tasks_per_node": 1,
            "cpus_per_task": asked.cpus_per_worker,
            "gpus_per_node": self._gpus or None,
            "slurm_signal_delay_s": min(SIGNAL_DELAY, limit * 60 // 3),
            "slurm_array_parallelism": self._job.workers,
            "slurm_partition": asked.slurm_partition or None,
            "slurm_account": asked.slurm_account or None,
            "slurm_setup": [asked.slurm_setup] if asked.slurm_setup else None,
            "slurm_additional_parameters": asked.sbatch_options or None,
        }


def job_name(job: Job) -> str:
    """The name of a sweep's jobs, the same whenever it is started on the same store."""
    key = hashlib.sha256(f"{job.experiment}|{job.tracking_uri}".encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', job.experiment)}-{key}"


class SlurmWatch:
    """Follows jobs by the files they write, until none is in the queue.

    Parameters
    ----------
    folder
        Where they write.
    job_ids
        SLURM's ids, such as 12_0.
    known
        Whether they were submitted by an earlier start, so that much of what they wrote is old.
    jobs
        submitit's, if they were submitted by this one.
    """

    def __init__(
        self,
        folder: Path,
        job_ids: Sequence[str],
        placement: Placement,
        *,
        known: bool = False,
        jobs: Sequence[submitit.Job[None]] = (),
    ) -> None:
        self.going_on = ""
        self._folder, self._ids, self._jobs = folder, list(job_ids), jobs
        self._local = placement.slurm_cluster == LOCAL
        self._watch = placement.slurm_watch == "on"
        self._known = known
        self._tails = {job_id: EventTail(events_file(folder, job_id)) for job_id in self._ids}
        self._ended: set[str] = set()
        self._cancelled: set[str] = set()
        self._asked = False  # whether local jobs were asked to stop
        self._states = ""

    def events(self, stop: Callable[[], bool]) -> Iterator[tuple[int, Event]]:
        """See :meth:`suite.executors.places.Executor.events`; a stop leaves the jobs alone."""
        if self._known:
            for index, job_id in enumerate(self._ids):
                yield from self._heard(index, job_id, self._tails[job_id].summary())
        looked, gone_since = -BETWEEN_LOOKS, None
        while self._watch and len(self._ended) < len(self._ids):
            if stop():
                if not self._local:
                    break
                self._end_processes()
            now = time.monotonic()
            if gone_since is None and now - looked >= (TICK if self._local else BETWEEN_LOOKS):
                looked = now
                there = self._in_queue()
                if there == "":
                    gone_since = now
                elif there is not None and there != self._states:
                    yield -1, Event("notice", f"{self._array}: {there}")
                self._states = there or self._states
            if gone_since is not None and now - gone_since > LAST_WORDS:
                yield from self._gone()
                return
            yield from self._news()
            yield -1, Event("tick")
            time.sleep(TICK)
        if len(self._ended) < len(self._ids):
            self.going_on = self._where_jobs_go_on()

    def _news(self) -> Iterator[tuple[int, Event]]:
        for index, job_id in enumerate(self._ids):
            yield from self._heard(index, job_id, self._tails[job_id].new())

    def _heard(
        self, index: int, job_id: str, events: Iterable[Event]
    ) -> Iterator[tuple[int, Event]]:
        for event in events:
            if event == CANCELLED and not self._local:  # or preempted, to come back
                self._cancelled.add(job_id)
                yield index, Event("idle")
                continue
            self._cancelled.discard(job_id)
            if event.kind == "end":
                self._ended.add(job_id)
            yield index, event

    def _in_queue(self) -> str | None:
        """The jobs in the queue in words; empty if there are none, None if nobody knows."""
        if self._local:
            running = sum(not job.done() for job in self._jobs)
            return f"{running} running" if running else ""
        try:
            counts = states(self._ids)
        except QueueAwayError:  # its controller is restarted now and then
            return None
        return ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items()))

    def _end_processes(self) -> None:
        """Jobs that are processes of this machine end with their sweep."""
        if not self._asked:
            self._asked = True
            for job in (job for job in self._jobs if not job.done()):
                os.kill(int(job.job_id), signal.SIGTERM)

    def _gone(self) -> Iterator[tuple[int, Event]]:
        """Jobs that are gone without having told their end, such as those that SLURM has killed."""
        yield from self._news()
        for index, job_id in enumerate(self._ids):
            log = self._folder / f"{job_id}_0_log.err"
            if job_id in self._cancelled:
                yield index, Event("end", f"SLURM job {job_id} was cancelled")
            elif job_id not in self._ended:
                yield index, Event("end", f"SLURM job {job_id} ended early; {log} says more")

    @property
    def _array(self) -> str:
        return "jobs" if self._local else f"SLURM job {self._ids[0].partition('_')[0]}"

    def _where_jobs_go_on(self) -> str:
        if self._local:
            return f"the jobs go on as processes {', '.join(self._ids)} of this machine"
        array = self._ids[0].partition("_")[0]
        return (
            f"SLURM job {array} goes on (scancel {array} ends it); "
            "the same command watches it again, and sums up once it has ended"
        )
