"""One sweep under sixty blows, from the first instant on: it ends as if nobody had touched it.

The real command on a store that does not exist yet. A blow is a signal to the whole process group,
to the command alone, or to one of its workers: SIGKILL, SIGTERM, or SIGSTOP and later SIGCONT. Runs
train alone (fleets of one), so that their numbers must be the same bit for bit.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from sweep_commands import SMALL, Command, Place, histories, unfinished

from suite.declarations.metrics import EPOCH_METRIC_NAMES

BLOWS = 60
EPOCHS = 300
STORM = (*SMALL, "--set", f"epochs={EPOCHS}", "--fleet", "1")
LONGEST_CALM, LONGEST_STANDSTILL = 16.0, 3.0  # seconds between two blows; of a stopped process
KINDS = ("kill", "terminate", "stop")
VICTIMS = ("all", "command", "worker")


def strike(command: Command, kind: str, victim: str, chance: random.Random) -> None:
    """One blow; nothing happens where the process has just ended by itself."""
    pid, send = command.process.pid, os.kill
    if victim == "all":
        send = os.killpg
    elif victim == "worker":
        pid = chance.choice(command.workers or [pid])
    number = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "stop": signal.SIGSTOP}[kind]
    with suppress(ProcessLookupError):
        send(pid, number)
        if kind == "stop":
            time.sleep(chance.uniform(0.0, LONGEST_STANDSTILL))
            send(pid, signal.SIGCONT)


def assert_no_row_twice(place: Place) -> None:
    """No run, finished or deleted, has two rows for one metric and epoch."""
    names = ", ".join(f"'{name}'" for name in EPOCH_METRIC_NAMES)
    twice = place.rows(
        f"SELECT run_uuid, key, step, count(*) FROM metrics WHERE key IN ({names}) "
        "GROUP BY run_uuid, key, step HAVING count(*) > 1"
    )
    assert twice == []


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("seed", [0])
def test_sixty_blows_from_the_first_instant_on_change_no_bit(
    place: Place, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    undisturbed = Place(tmp_path_factory.mktemp("undisturbed"), epochs=EPOCHS)
    undisturbed.finish(STORM)
    place.epochs = EPOCHS
    chance = random.Random(seed)
    done: Counter[tuple[str, str]] = Counter()
    command = place.start(STORM)
    for blow in range(BLOWS):
        # The first ten come while the command starts and makes its store.
        time.sleep(chance.uniform(0.0, LONGEST_CALM) * (1.0 if blow >= 10 else 0.5))
        kind, victim = chance.choice(KINDS), chance.choice(VICTIMS)
        strike(command, kind, victim, chance)
        done[kind, victim] += 1
        if kind != "stop" and victim != "worker":
            command.wait()
            assert "Traceback" not in command.text, command.text
        if command.process.poll() is not None:
            command = place.start(STORM)
    command.wait()
    last = place.finish(STORM)
    assert len(done) == len(KINDS) * len(VICTIMS), done
    expected, found = histories(undisturbed), histories(place)
    assert found.keys() == expected.keys()
    for fingerprint, values in expected.items():
        np.testing.assert_array_equal(found[fingerprint], values)
    assert_no_row_twice(place)
    assert unfinished(place) == []
    assert "nothing to do" in place.finish(STORM).text, last.text
