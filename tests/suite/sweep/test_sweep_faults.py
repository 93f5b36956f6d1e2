"""Sweeps that are killed, interrupted, crowded, and cut off from their disk or their server.

The real command, in real processes, on a real store. Afterwards the ledger has exactly the
points, each with a complete history and the numbers of a sweep which nobody disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from mlflow_server import MlflowServer
from sweep_commands import (
    EPOCHS,
    RUNS,
    SMALL,
    Command,
    Place,
    Reference,
    assert_undisturbed,
    histories,
)

from suite.sweep.study import shown_epochs

LONGEST_STOP = 10.0  # seconds
OUTAGE = 20.0


def assert_scoreboard_complete(place: Place) -> None:
    """One trial a run, with as much of its curve as a trial holds, whoever was killed."""
    url = f"sqlite:///{place.folder / 'optuna.db'}"
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert len({trial.user_attrs["fingerprint"] for trial in trials}) == len(trials) == RUNS
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
    epochs = range(1, place.epochs + 1)
    for trial in trials:
        wanted = shown_epochs(epochs, trial.user_attrs["best_epoch"])
        assert sorted(trial.intermediate_values) == wanted


def assert_quiet(command: Command) -> None:
    """Nothing of a library's has come through to the person."""
    for word in ("Traceback", "Warning", "WARNING", "INFO", "database is locked"):
        assert word not in command.text, command.text


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_runs_go_on_from_their_checkpoints(
    place: Place,
) -> None:
    few = (*SMALL, "--set", "optimizer=sgd", "--workers", "1", "--fleet", "4")
    command = place.begin(few, epochs=1)
    before = place.epochs_logged()
    os.kill(command.workers[0], signal.SIGKILL)
    assert command.wait() == 0, command.text
    assert "another one goes on from its checkpoints" in command.text
    assert before < 4 * EPOCHS, "the worker was killed too late to matter"
    assert len(histories(place)) == 4
    assert_quiet(command)


# Ten kills come to these before they end, on a fast machine too.
LONGER = 900
LONG = (*SMALL, "--set", f"epochs={LONGER}")


@pytest.fixture(scope="module")
def long_reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """As `reference`, of longer runs."""
    place = Place(tmp_path_factory.mktemp("long"), epochs=LONGER)
    place.finish(LONG)
    return histories(place)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("victims", ["one worker", "all processes", "the command alone"])
def test_ten_rounds_of_kill_9_lose_and_repeat_nothing(
    place: Place, long_reference: Reference, victims: str
) -> None:
    chance = random.Random(victims)
    place.epochs = LONGER
    for _ in range(10):
        command = place.start(LONG)
        command.wait_until(lambda command=command: command.workers, "workers")
        time.sleep(chance.uniform(0.0, 14.0))
        workers = command.workers
        if victims == "one worker":
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
            time.sleep(chance.uniform(0.0, 6.0))
        if victims == "the command alone":
            os.kill(command.process.pid, signal.SIGKILL)
        elif command.process.poll() is None:
            command.signal(signal.SIGKILL)
        command.wait()
        assert_quiet(command)
    place.finish(LONG)
    assert_undisturbed(place, long_reference)
    assert_scoreboard_complete(place)
    assert "nothing to do" in place.finish(LONG).text


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_sweeps_started_together_share_the_points(
    place: Place, reference: Reference, count: int
) -> None:
    commands = [place.start() for _ in range(count)]
    for command in commands:
        assert command.wait() == 0, command.text
        assert_quiet(command)
        assert f"{RUNS} of {RUNS} runs done" in command.text or "nothing to do" in command.text
    assert_undisturbed(place, reference)
    assert_scoreboard_complete(place)


@pytest.mark.slow
def test_workers_whose_sweep_is_killed_stop_by_themselves(place: Place) -> None:
    command = place.begin((*SMALL, "--set", "epochs=2000"))
    workers = command.workers
    assert len(workers) == 2
    os.kill(command.process.pid, signal.SIGKILL)
    until = time.monotonic() + 6 * LONGEST_STOP
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < until, "orphans"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    """Whether a process runs (one that has ended may wait for init to collect it)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.slow
def test_ctrl_c_stops_in_ten_seconds_and_the_next_start_goes_on(
    place: Place, reference: Reference
) -> None:
    command = place.begin()
    start = time.monotonic()
    command.signal(signal.SIGINT)
    assert command.wait() == 130, command.text
    assert time.monotonic() - start < LONGEST_STOP
    assert "interrupted; the same command goes on" in command.text
    assert_quiet(command)
    states = {status for (status,) in place.rows("SELECT status FROM runs")}
    assert "RUNNING" not in states, "MLflow shows an interrupted sweep as running"
    place.finish()
    assert_undisturbed(place, reference)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.5, 3.0, 5.0])
def test_ctrl_c_while_the_command_is_still_starting_leaves_no_traceback(
    place: Place, seconds: float
) -> None:
    command = place.start()
    time.sleep(seconds)
    command.signal(signal.SIGINT)
    assert command.wait() in (130, -signal.SIGINT), command.text
    if seconds > 1:  # before that it is Python itself that starts
        assert_quiet(command)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system with hardly any room."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_space_lets_the_sweep_go_on(
    place: Place, small_disk: Path, reference: Reference
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 320_000)
    command = place.start((*SMALL, "--state-dir", str(small_disk)))
    assert command.wait() == 1, command.text
    (line,) = [line for line in command.text.splitlines() if line.startswith("error: ")]
    assert "cannot be written" in line
    assert "free some space or choose another --state-dir" in line
    assert_quiet(command)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    place.finish((*SMALL, "--state-dir", str(small_disk)))
    assert_undisturbed(place, reference)


@pytest.fixture
def server(place: Place) -> Iterator[MlflowServer]:
    with MlflowServer(place.folder, f"sqlite:///{place.database}") as made:
        place.uri = made.uri
        yield made


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_that_is_away_for_a_while_loses_nothing(
    place: Place, server: MlflowServer, reference: Reference
) -> None:
    command = place.begin()
    server.stop()
    time.sleep(OUTAGE)
    server.start()
    assert command.wait() == 0, command.text
    assert_quiet(command)
    assert_undisturbed(place, reference)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_a_lost_server_lacks_is_kept_and_uploaded_by_the_next_start_without_training(
    place: Place, server: MlflowServer, reference: Reference
) -> None:
    command = place.begin()
    server.stop()
    assert command.wait() == 1, command.text
    assert "the next start uploads it" in command.text
    assert_quiet(command)
    kept = list(place.folder.glob("state/*/*/result/result.json"))
    assert len(kept) + len(histories(place)) == RUNS, "training did not go on"
    server.start()
    log = place.finish()
    assert "epochs/s" not in log.text, "it trained again"
    assert_undisturbed(place, reference)
