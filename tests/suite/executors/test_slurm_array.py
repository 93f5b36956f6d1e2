"""Sweeps as job arrays: on submitit's local executor, and on a real SLURM of one node."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from job_helpers import some_job
from slurm_server import SlurmServer
from sweep_commands import EPOCHS, RUNS, SMALL, Place, Reference, assert_undisturbed

from suite.basics.settings import ConfigError
from suite.declarations.machine import Machine
from suite.worker.messages import Event, Job

pytest.importorskip("submitit", reason="the extra slurm is not installed")

from suite.executors import slurm_array, slurm_queue
from suite.executors.event_log import EventLog
from suite.executors.placement import Placement
from suite.executors.slurm_array import SlurmArray, SlurmWatch, job_name
from suite.executors.slurm_job import WorkerJob, events_file
from suite.executors.slurm_queue import Machines, QueueAwayError

LOCAL = (*SMALL, "--executor", "slurm", "--slurm-cluster", "local")
SLURM = (*SMALL, "--executor", "slurm", "--slurm-time-limit", "10")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return some_job(tmp_path, experiment="my sweep/1", machine=Machine(), workers=2)


def placement(**settings: Any) -> Placement:
    return Placement.parse({"executor": "slurm"} | settings)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A SLURM that has the machines one says."""

    def have(names: set[str], *, gpus: bool = False, queued: tuple[str, ...] = ()) -> None:
        found = Machines(frozenset(names), gpus)
        monkeypatch.setattr(slurm_array, "machines", lambda _partition: found)
        monkeypatch.setattr(slurm_array, "jobs_called", lambda _name: list(queued))
        monkeypatch.setattr(slurm_array.socket, "gethostname", lambda: "login.example.org")

    return have


def test_jobs_of_one_sweep_have_one_name_that_a_shell_takes(job: Job) -> None:
    assert job_name(job) == job_name(job)
    assert job_name(job).startswith("my-sweep-1-")
    assert " " not in job_name(job)


def test_a_cluster_of_one_machine_may_use_files_and_one_of_many_may_not(
    job: Job, here: Callable[..., None]
) -> None:
    here({"login"})
    assert SlurmArray(placement(), job).description.startswith("2 SLURM jobs (named my-sweep-1-")
    here({"node1", "node2"})
    with pytest.raises(ConfigError, match="tracking_uri: must be a server which all 3 machines"):
        SlurmArray(placement(), job)


def test_what_is_asked_of_slurm_stands_in_the_batch_file(
    job: Job, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from submitit.slurm import slurm

    here({"login"}, gpus=True)
    monkeypatch.setattr(slurm.SlurmExecutor, "affinity", classmethod(lambda _cls: 2))
    written: list[str] = []

    def submit(self: Any, _command: str) -> Any:
        written.append(self._make_submission_file_text("train", "1"))
        return slurm.SlurmJob(folder=self.folder, job_id="12", tasks=[0])

    monkeypatch.setattr(slurm.SlurmExecutor, "_submit_command", submit)
    asked = placement(
        cpus_per_worker=4,
        slurm_time_limit=60,
        slurm_partition="gpu",
        slurm_account="lab",
        slurm_parameters="qos=long mem=16G",
        slurm_setup="module load cuda",
    )
    watch = SlurmArray(asked, job).start({"recipe": "run"})
    (text,) = written
    for line in (
        *("--time=60", "--partition=gpu", "--account=lab", "--qos=long", "--mem=16G"),
        *("--cpus-per-task=4", "--gpus-per-node=1", "--signal=USR2@90", "--array=0-1%2"),
        f"--job-name={job_name(job)}",
    ):
        assert f"#SBATCH {line}\n" in text
    assert "module load cuda\n" in text
    assert "SLURM job 12 goes on (scancel 12 ends it)" in watch._where_jobs_go_on()


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmWatch:
    for name in ("TICK", "BETWEEN_LOOKS", "LAST_WORDS"):
        monkeypatch.setattr(slurm_array, name, 0.0)
    return SlurmWatch(tmp_path, ["12_0", "12_1"], placement())


def told(watch: SlurmWatch, stop: Callable[[], bool] = lambda: False) -> list[tuple[int, Event]]:
    return [(index, event) for index, event in watch.events(stop) if event.kind != "tick"]


def test_it_watches_until_all_jobs_have_said_their_last_word(
    watch: SlurmWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([Counter(PENDING=2), QueueAwayError("away"), Counter(RUNNING=1, PENDING=1)])

    def states(_ids: list[str]) -> Counter[str]:
        look = next(looks)
        if isinstance(look, Exception):
            raise look
        if look["RUNNING"]:
            EventLog(events_file(tmp_path, "12_0")).tell(Event("end", None))
            EventLog(events_file(tmp_path, "12_1")).tell(Event("end", "no space"))
        return look

    monkeypatch.setattr(slurm_array, "states", states)
    assert told(watch) == [
        (-1, Event("notice", "SLURM job 12: 2 pending")),
        (-1, Event("notice", "SLURM job 12: 1 pending, 1 running")),
        (0, Event("end", None)),
        (1, Event("end", "no space")),
    ]
    assert watch.going_on == ""


def test_a_job_that_is_gone_without_a_word_is_told_of_with_its_log(
    watch: SlurmWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EventLog(events_file(tmp_path, "12_0")).tell(Event("end", None))
    monkeypatch.setattr(slurm_array, "states", lambda _ids: Counter())
    assert told(watch)[-1] == (
        1,
        Event("end", f"SLURM job 12_1 ended early; {tmp_path}/12_1_0_log.err says more"),
    )


def test_a_job_that_ends_as_a_second_start_begins_to_watch_is_not_missed(tmp_path: Path) -> None:
    EventLog(events_file(tmp_path, "12_0")).tell(Event("end", None))
    assert told(SlurmWatch(tmp_path, ["12_0"], placement(), known=True)) == [
        (0, Event("end", None))
    ]


def test_a_preempted_job_is_waited_for_and_a_cancelled_one_is_told_of(
    watch: SlurmWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [EventLog(events_file(tmp_path, job_id)) for job_id in ("12_0", "12_1")]
    for log in logs:
        log.tell(Event("end", "interrupted"))
    looks = iter([Counter(PENDING=1), Counter()])

    def states(_ids: list[str]) -> Counter[str]:
        look = next(looks)
        if not look:  # the first has come back, and finds nothing left
            logs[0].tell(Event("end", None))
        return look

    monkeypatch.setattr(slurm_array, "states", states)
    ends = [(index, event.content) for index, event in told(watch) if event.kind == "end"]
    assert ends == [(0, None), (1, "SLURM job 12_1 was cancelled")]


def test_asked_to_stop_it_leaves_the_jobs_and_says_how_to_end_them(
    watch: SlurmWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_array, "states", lambda _ids: Counter(RUNNING=2))
    assert told(watch, stop=lambda: True) == []
    assert "SLURM job 12 goes on (scancel 12 ends it)" in watch.going_on


def test_a_signal_before_the_time_limit_stops_training_first(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from suite.engine.fleet import Interrupted
    from suite.worker import worker

    class Training:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_ended: object) -> None:
            return None

        def __init__(self, _job: Job, _tell: object, interrupted: Callable[[], bool]) -> None:
            self.interrupted = interrupted

        def run(self) -> None:
            began.set()
            while not self.interrupted():
                time.sleep(0.01)
            stopped.append(True)
            raise Interrupted

    began, stopped = threading.Event(), []
    monkeypatch.setattr(worker, "Worker", Training)
    call = WorkerJob(job, tmp_path)
    environment = type("E", (), {"job_id": "12_0", "paths": type("P", (), {"stderr": tmp_path})})
    monkeypatch.setattr("submitit.JobEnvironment", environment)
    before = signal.getsignal(signal.SIGUSR2)
    again: list[Any] = []
    signal.signal(signal.SIGUSR2, lambda _number, _frame: again.append(call.checkpoint()))

    def interrupt() -> None:
        began.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    threading.Thread(target=interrupt).start()
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        call()
    finally:
        signal.signal(signal.SIGUSR2, before)
        signal.signal(signal.SIGTERM, sigterm)
    assert stopped == [True]
    (submission,) = again
    assert submission.function.job == job
    assert submission.function._thread is None
    text = events_file(tmp_path, "12_0").read_text(encoding="utf-8")
    assert "worker 0 stopped in time for its job to be queued again" in text


@pytest.mark.slow
def test_ctrl_c_ends_local_jobs_and_the_next_start_gives_the_numbers_of_processes(
    place: Place, reference: Reference
) -> None:
    command = place.begin(LOCAL)
    command.signal(signal.SIGINT)
    assert command.wait() == 130, command.text
    assert "interrupted; the same command goes on" in command.text
    assert f"{RUNS} of {RUNS} runs done" in place.finish(LOCAL).text
    assert_undisturbed_but_logs(place, reference)


def assert_undisturbed_but_logs(place: Place, reference: Reference) -> None:
    """As `assert_undisturbed`; submitit's folder lies beside the state of the experiments."""
    logs = place.folder / "state" / "slurm"
    assert any(logs.iterdir())
    logs.rename(place.folder / "slurm-logs")
    assert_undisturbed(place, reference)


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmServer]:
    with SlurmServer() as server:
        yield server


@pytest.fixture
def cluster(slurm: SlurmServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmServer]:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm
    slurm.ask("scancel", "--user=root")
    slurm.wait_for(lambda: not slurm.ask("squeue", "--noheader"))


@pytest.mark.slow
def test_slurm_is_asked_for_its_machines_and_jobs(cluster: SlurmServer) -> None:
    found = slurm_queue.machines("")
    assert len(found.names) == 1
    assert not found.gpus
    with pytest.raises(ConfigError, match="slurm_partition: must be one that `sinfo` lists"):
        slurm_queue.machines("nowhere")
    cluster.ask("sbatch", "--job-name=mine", "--array=0-1", "--output=/dev/null", "--wrap=sleep 60")
    ids = slurm_queue.jobs_called("mine")
    assert [job.partition("_")[2] for job in ids] == ["0", "1"]
    assert sum(slurm_queue.states(ids).values()) == 2
    assert slurm_queue.jobs_called("others") == []
    assert slurm_queue.states(["999_0"]) == Counter()


@pytest.mark.slow
def test_a_job_that_is_signalled_is_queued_again_and_goes_on_from_its_checkpoints(
    place: Place, reference: Reference, cluster: SlurmServer
) -> None:
    command = place.begin(SLURM)
    first = cluster.ask("squeue", "--noheader", "--array", "--format=%i").split()[0]
    cluster.ask("scancel", "--signal=USR2", first)
    assert place.epochs_logged() < RUNS * EPOCHS, "signalled too late to matter"
    assert command.wait() == 0, command.text
    assert "stopped in time for its job to be queued again" in command.text
    assert_undisturbed_but_logs(place, reference)


@pytest.mark.slow
def test_a_job_leaves_before_its_time_limit_and_is_queued_again(
    place: Place, cluster: SlurmServer
) -> None:
    """SLURM's own clock: with a limit of 2 minutes it signals after 80 seconds."""
    epochs = 2000
    one = ("--set", "optimizer=sgd", "--set", "sigma_w=0.5", "--set", "seed=0")
    arguments = (*SLURM, *one, "--set", f"epochs={epochs}", "--slurm-time-limit", "2")
    command = place.finish(arguments)
    assert "stopped in time for its job to be queued again" in command.text
    assert "1 of 1 runs done" in command.text
    points = place.rows("SELECT step FROM metrics WHERE key = 'val_loss' ORDER BY step")
    assert [step for (step,) in points] == list(range(1, epochs + 1))


@pytest.mark.slow
def test_a_second_start_watches_the_jobs_of_the_first_and_nothing_is_trained_twice(
    place: Place, reference: Reference, cluster: SlurmServer
) -> None:
    detached = place.finish((*SLURM, "--slurm-watch", "off"))
    assert "goes on (scancel" in detached.text
    watching = place.start(SLURM)
    watching.wait_for("of an earlier start, so no new ones")
    watching.wait_until(lambda: place.epochs_logged() > 4, "epochs in MLflow")
    watching.signal(signal.SIGINT)
    assert watching.wait() == 130
    assert "the same command watches it again" in watching.text
    assert "RUNNING" in cluster.ask("squeue", "--noheader", "--format=%T"), "it was ended, too"
    last = place.finish(SLURM).text
    assert f"{RUNS} of {RUNS} runs done" in last or "nothing to do" in last
    assert_undisturbed_but_logs(place, reference)


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line_and_leaves_no_run_open(
    place: Place, cluster: SlurmServer
) -> None:
    command = place.start((*SLURM, "--slurm-parameters", "partition=nowhere"))
    assert command.wait() == 2, command.text
    (line,) = [line for line in command.text.splitlines() if line.startswith("error: ")]
    assert "executor: slurm must accept the jobs, got" in line
    assert "Traceback" not in command.text
    assert place.rows("SELECT name FROM runs WHERE status = 'RUNNING'") == []
