"""Sweeps of many machines on one PostgreSQL: a real MLflow server, Optuna's storage, leases.

Each machine is a working directory of its own; all reach one server and one state directory.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import PostgresqlServer
from shared_store import SHARED, Shared
from sweep_commands import EPOCHS, RUNS

from suite.engine import checkpoint
from suite.engine.checkpoint import RunState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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
    assert any("taking them again" in command.text for command in commands)
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
    assert heir.wait() == 0, heir.text
    # An epoch carries the time at which it ended: trained anew, it would have another one.
    logged = second.rows("SELECT step, timestamp, value FROM metrics WHERE key = 'val_loss'")
    known = [(record.epoch, record.timestamp, record.val_loss) for record in left.history]
    assert sorted(logged)[: left.epoch] == known, "it began anew"
    shared.assert_complete(1)
    assert not (first.folder / "state").exists(), "state beside the shared one"


def _state(shared: Shared) -> RunState | None:
    return next((checkpoint.load(path) for path in shared.checkpoints()), None)


def _epoch(shared: Shared) -> int:
    state = _state(shared)
    return state.epoch if state else 0
