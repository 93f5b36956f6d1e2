"""A Ray cluster: each task trains one fleet, on its cores and its GPU or part of one."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from suite.basics.errors import first_line
from suite.basics.settings import ConfigError
from suite.executors import ray_alone
from suite.executors.placement import Placement, check_reach, gpus_of_a_worker, worker_machine
from suite.executors.ray_executor import RayExecutor
from suite.worker.messages import Job

ALONE = "local"  # Ray's word for a cluster that this process starts, and that ends with it
KNOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Room:
    """What a cluster has room for now."""

    workers: int
    machines: int


class RayCluster:
    """A Ray cluster that has been found, or started on this machine.

    Parameters
    ----------
    placement
        Its address, and what a worker gets.
    job, workers
        As in :func:`suite.executors.places.find_place`.

    Raises
    ------
    ConfigError
        If there is no such cluster, it has not what a worker needs, or its machines cannot reach
        the store.
    """

    def __init__(self, placement: Placement, job: Job, workers: int) -> None:
        self._address = placement.ray_address or os.environ.get("RAY_ADDRESS") or ALONE
        _connect(self._address)
        try:
            self._cpus = placement.cpus_per_worker
            there = ray.cluster_resources().get("GPU", 0) > 0
            self._gpus = gpus_of_a_worker(placement, job.machine.device, there=there)
            room = self._room()
            caution = check_reach(job, room.machines)
            if self._address == ALONE:
                caution += ray_alone.caution()
            if not room.workers and not workers:
                raise ConfigError(
                    f"cpus_per_worker: must fit into a machine of the cluster beside "
                    f"{self._gpus:g} GPUs, got {self._cpus}; give less"
                )
        except BaseException:
            ray.shutdown()
            raise
        self._most = min(workers or len(job.configs), len(job.configs))
        self._fixed = workers > 0
        count = self._most if self._fixed else min(room.workers, self._most)
        machine = job.machine.model_copy(update=worker_machine(job, placement, self._gpus))
        self._job = replace(job, machine=machine, workers=count)
        each = f"{self._cpus} CPU" + (f" and {self._gpus:g} GPU" if self._gpus else "")
        self.description = f"{count} Ray worker{'s' * (count > 1)} with {each}" + (
            f" each, on {room.machines} machine{'s' * (room.machines > 1)}{caution}"
        )

    def _room(self) -> Room:
        return _room(ray.nodes(), self._cpus, self._gpus)

    def start(self, parents: Mapping[str, str]) -> RayExecutor:
        """See :meth:`suite.executors.places.Place.start`."""
        job = replace(self._job, parents=parents)
        return RayExecutor(
            job,
            {"num_cpus": self._cpus, "num_gpus": self._gpus},
            self._width,
        )

    def _width(self) -> int:
        return self._most if self._fixed else min(self._room().workers, self._most)


def _connect(address: str) -> None:
    """Join a cluster, or start one.

    Raises
    ------
    ConfigError
        If there is none.
    """
    _knock(address)
    if address == ALONE:
        ray_alone.prepare()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is called unasked
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own: dict[str, Any] = {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            **(own if address == ALONE else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _no_cluster(address, first_line(error)) from None
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray puts its own in place, which exits at once


def _knock(address: str) -> None:
    """Ray itself takes minutes to find out that nobody answers."""
    if "://" in address:
        raise ConfigError(
            f"ray_address: must be HOST:PORT or auto, got {address}; start the command on a "
            "machine of the cluster, or with `ray job submit`"
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"ray_address: must lead to a Ray cluster that this machine is part of, got {address} "
        f"({reason.rstrip('.')}); `ray start --head` starts one, `ray status` shows it"
    )


def _room(nodes: list[dict[str, Any]], cpus: int, gpus: float) -> Room:
    """How many workers fit into the machines that are alive."""
    alive = [node for node in nodes if node["Alive"]]
    workers = 0
    for node in alive:
        has = node["Resources"]
        fits = int(has.get("CPU", 0) // cpus)
        if gpus:  # a worker's part is of one GPU, so a remainder of each is lost
            fits = min(fits, int(has.get("GPU", 0)) * int(1 / gpus + 1e-9))
        workers += fits
    machines = {node["NodeManagerAddress"] for node in alive}
    return Room(workers, len(machines))
