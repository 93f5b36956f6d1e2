"""Sweeps on Ray: the same numbers as on one machine, whoever is stopped or killed meanwhile.

The real command on a real cluster; two machines are two of Ray's nodes on this one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sweep_commands import EPOCHS, RUNS, SMALL, Place, Reference, assert_undisturbed

pytest.importorskip("ray", reason="the extra ray is not installed")

from suite.executors import ray_cluster
from suite.executors.ray_cluster import Room

LONGEST_STOP = 15.0  # seconds, the end of Ray's own processes included
RAY = (*SMALL, "--executor", "ray")


def node(cpus: float, gpus: float = 0, address: str = "10.0.0.1", alive: bool = True) -> Any:
    has = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return {"Alive": alive, "NodeManagerAddress": address, "Resources": has}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "room"),
    [
        ([node(8)], 2, 0.0, Room(4, 1)),
        ([node(3), node(3, address="10.0.0.2")], 2, 0.0, Room(2, 2)),
        ([node(8, 2)], 1, 1.0, Room(2, 1)),
        ([node(64, 2)], 1, 0.3, Room(6, 1)),
        ([node(2, 8)], 1, 0.1, Room(2, 1)),
        ([node(8), node(8, address="10.0.0.2", alive=False)], 1, 0.0, Room(8, 1)),
        ([node(8)], 16, 0.0, Room(0, 1)),
    ],
)
def test_room_is_counted_by_machine_and_by_gpu(
    nodes: list[Any], cpus: int, gpus: float, room: Room
) -> None:
    assert ray_cluster._room(nodes, cpus, gpus) == room


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_a_cluster_that_is_not_there_is_one_line(place: Place, address: str) -> None:
    command = place.start((*RAY, "--ray-address", address))
    assert command.wait(60) == 2
    (line,) = command.text.splitlines()
    assert line.startswith("error: ray_address: must ")
    assert address in line


@pytest.mark.slow
def test_ctrl_c_stops_the_cluster_and_the_next_start_gives_the_numbers_of_processes(
    place: Place, reference: Reference
) -> None:
    command = place.begin(RAY)
    start = time.monotonic()
    command.signal(signal.SIGINT)
    assert command.wait() == 130, command.text
    assert time.monotonic() - start < LONGEST_STOP
    assert "interrupted; the same command goes on" in command.text
    assert "Traceback" not in command.text
    states = {status for (status,) in place.rows("SELECT status FROM runs")}
    assert "RUNNING" not in states
    assert f"{RUNS} of {RUNS} runs done" in place.finish(RAY).text
    assert_undisturbed(place, reference)


def runs_with_epochs(place: Place) -> int:
    """Runs of which MLflow has an epoch."""
    if place.epochs_logged() == 0:
        return 0
    ((count,),) = place.rows("SELECT count(DISTINCT run_uuid) FROM metrics WHERE key = 'val_loss'")
    return int(str(count))


@pytest.fixture
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A Ray cluster and the node of it which may be killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster, cluster.add_node(num_cpus=1)
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_fleets_of_a_node_that_dies_go_on_from_their_checkpoints(
    place: Place, reference: Reference, two_nodes: tuple[Any, Any]
) -> None:
    cluster, victim = two_nodes
    command = place.start((*RAY, "--ray-address", cluster.address))
    command.wait_until(lambda: runs_with_epochs(place) == 4, "epochs of both fleets")
    cluster.remove_node(victim, allow_graceful=False)
    assert place.epochs_logged() < RUNS * EPOCHS, "the node was killed too late to matter"
    assert command.wait() == 0, command.text
    assert "2 Ray workers" in command.text
    assert "has died; Ray goes on from its checkpoints" in command.text
    assert_undisturbed(place, reference)


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_tasks_with_it(
    place: Place, reference: Reference
) -> None:
    command = place.begin((*RAY, "--set", f"epochs={EPOCHS}"))
    os.kill(command.process.pid, signal.SIGKILL)
    command.wait()
    place.finish(RAY)
    assert_undisturbed(place, reference)
