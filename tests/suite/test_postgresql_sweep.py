"""Sweeps of many machines on one PostgreSQL: a real MLflow server, Optuna's storage, leases.

Each machine is a working directory of its own; all reach one server and one state directory.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from postgresql_server import PostgresqlServer, free_port
from sqlalchemy import NullPool
from sweep_commands import EPOCHS, RUNS, SMALL, Command, Place, histories, unfinished

from suite import checkpoint
from suite.checkpoint import RunState
from suite.study import STORAGE_VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# One run at a time, so that there is work for every worker.
SHARED = (*SMALL, "--fleet", "1")


@dataclass
class SharedPlace(Place):
    """One machine's working directory; its MLflow is a server on PostgreSQL."""

    server: PostgresqlServer = field(kw_only=True)
    mlflow: str = field(kw_only=True)  # the server's database

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.server.rows(self.mlflow, query)

    def epochs_logged(self) -> int:
        return int(str(self.rows("SELECT count(*) FROM metrics WHERE key = 'val_loss'")[0][0]))


class Shared:
    """What the machines share."""

    def __init__(self, folder: Path, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.server = folder, server
        self.mlflow, self.optuna = server.new_database(), server.new_database()
        self.port = free_port()
        self.state = folder / "shared state"
        self.machines: list[SharedPlace] = []
        monkeypatch.setenv(STORAGE_VARIABLE, self.optuna)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.mlflow]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        with (folder / "server.txt").open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 180
        while not self._answers():
            assert time.monotonic() < until, (folder / "server.txt").read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def machine(self) -> SharedPlace:
        """Another machine. The server goes by another name on every second one."""
        number = len(self.machines)
        folder = self.folder / f"machine {number}"
        folder.mkdir()
        host = "127.0.0.1" if number % 2 == 0 else "localhost"
        uri = f"http://{host}:{self.port}"
        place = SharedPlace(folder, uri, server=self.server, mlflow=self.mlflow)
        self.machines.append(place)
        return place

    def start(self, place: Place, arguments: Sequence[str] = SHARED) -> Command:
        return place.start((*arguments, "--state-dir", self.state.as_uri()))

    def end(self) -> None:
        for machine in self.machines:
            machine.clean()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def checkpoints(self) -> list[Path]:
        return sorted(self.state.glob("*/*/checkpoint.safetensors"))

    def assert_complete(self, runs: int = RUNS) -> None:
        """Each point one FINISHED run with every epoch once; nothing left of it but its trial."""
        place = self.machines[0]
        assert len(histories(place)) == runs
        assert unfinished(place) == []
        kept = [p for p in self.state.glob("*/*/*") if p.parent.name != "leases"]
        assert kept == [], "state of finished runs"
        storage = RDBStorage(self.optuna, engine_kwargs={"poolclass": NullPool})
        studies = optuna.get_all_study_names(storage)
        trials = [
            trial
            for name in studies
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        ]
        assert len({trial.user_attrs["fingerprint"] for trial in trials}) == len(trials) == runs
        assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
        assert all(len(trial.intermediate_values) == EPOCHS for trial in trials)


@pytest.fixture
def shared(
    tmp_path: Path, postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shared]:
    made = Shared(tmp_path, postgresql_server, monkeypatch)
    yield made
    made.end()


def test_eight_workers_on_four_machines_share_the_points_though_some_are_killed(
    shared: Shared,
) -> None:
    places = [shared.machine() for _ in range(4)]
    commands = [shared.start(place) for place in places]
    commands[0].wait_until(lambda: places[0].epochs_logged() > 0, "an epoch in MLflow")
    commands[0].wait_until(lambda: commands[1].workers, "workers on the second machine")
    os.kill(commands[1].workers[0], signal.SIGKILL)
    commands[0].signal(signal.SIGKILL)  # a whole machine
    commands[0].wait()
    assert places[0].epochs_logged() < RUNS * EPOCHS, "killed too late to matter"
    for command in commands[1:]:
        assert command.wait() == 0, command.text
        assert f"{RUNS} of {RUNS} runs done" in command.text or "nothing to do" in command.text
    shared.assert_complete()


def test_connections_that_break_while_runs_train_lose_and_repeat_nothing(shared: Shared) -> None:
    chance = random.Random(0)
    places = [shared.machine() for _ in range(2)]
    commands = [shared.start(place) for place in places]
    commands[0].wait_until(lambda: places[0].epochs_logged() > 0, "an epoch in MLflow")
    ended = 0
    while any(command.process.poll() is None for command in commands):
        ended += shared.server.end_leases(shared.optuna)
        time.sleep(chance.uniform(0.5, 3.0))
    assert ended > 4, "hardly anything was broken"
    for command in commands:
        assert command.wait() == 0, command.text
        assert "Traceback" not in command.text
    assert any("claiming them again" in command.text for command in commands)
    shared.assert_complete()


def test_another_machine_goes_on_from_the_checkpoint_of_one_that_died(shared: Shared) -> None:
    one = ("--set", "optimizer=sgd", "--set", "sigma_w=0.5", "--set", "seed=0", "--workers", "1")
    arguments = (*SHARED, *one, "--set", "train_fraction=1.0")
    first, second = shared.machine(), shared.machine()
    dying = shared.start(first, arguments)
    dying.wait_until(lambda: _epoch(shared) >= 3, "a checkpoint")
    dying.signal(signal.SIGKILL)
    dying.wait()
    left = _state(shared)
    assert left is not None
    assert 3 <= left.epoch < EPOCHS
    heir = shared.start(second, arguments)
    heir.wait_until(lambda: _epoch(shared) > left.epoch or len(histories(second)), "a later one")
    taken_up = _state(shared)
    assert taken_up is not None, "no checkpoint of the heir was seen"
    assert taken_up.history[: left.epoch] == left.history, "it began anew"
    assert heir.wait() == 0, heir.text
    shared.assert_complete(1)
    assert not (first.folder / "state").exists(), "state beside the shared one"


def _state(shared: Shared) -> RunState | None:
    return next((checkpoint.load(path) for path in shared.checkpoints()), None)


def _epoch(shared: Shared) -> int:
    state = _state(shared)
    return state.epoch if state else 0
