"""Where a sweep's fleets are trained and what each worker gets: the settings, and what rules them.

Light: neither torch nor MLflow, and neither Ray nor submitit is needed.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import Field

from suite.basics.addresses import SQLITE, host_of
from suite.basics.settings import ConfigError, Setting, Settings
from suite.declarations.machine import Machine
from suite.worker.messages import Job

CLUSTERS = {"executor": ("ray", "slurm")}
RAY, SLURM = {"executor": ("ray",)}, {"executor": ("slurm",)}
LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


class Placement(Settings):
    """The placement of a sweep: no part of a run's identity.

    It decides a run's company, device and threads, on which rounding depends, and nothing else
    (:mod:`suite.declarations.machine`).
    """

    executor: Annotated[
        Literal["processes", "ray", "slurm"],
        Setting("processes of this machine, tasks of a Ray cluster, or a job array of SLURM"),
    ] = "processes"
    cpus_per_worker: Annotated[
        int,
        Field(ge=1),
        Setting("CPU cores of a worker; its threads, unless --threads is given", "", CLUSTERS),
    ] = 1
    gpus_per_worker: Annotated[
        str,
        Field(pattern=r"^(auto|0|1|0?\.\d*[1-9]\d*)$"),
        Setting(
            "auto (1 if the cluster has GPUs, else 0), 0 (the CPU), 1, or with Ray a fraction of "
            "a GPU which workers share",
            "GPUs",
            CLUSTERS,
        ),
    ] = "auto"
    ray_address: Annotated[
        str,
        Setting(
            "the Ray cluster, HOST:PORT or auto; empty is $RAY_ADDRESS, or a cluster on this "
            "machine for as long as the sweep runs",
            "",
            RAY,
        ),
    ] = ""
    slurm_time_limit: Annotated[
        int,
        Field(ge=2),
        Setting("time limit of a job, which is queued again before it ends", "minutes", SLURM),
    ] = 240
    slurm_requeues: Annotated[
        int,
        Field(ge=0),
        Setting("how often a job that reaches its time limit is queued again", "", SLURM),
    ] = 100
    slurm_partition: Annotated[
        str, Setting("SLURM partition; empty is SLURM's default", "", SLURM)
    ] = ""
    slurm_account: Annotated[str, Setting("SLURM account; empty is your default", "", SLURM)] = ""
    slurm_parameters: Annotated[
        str,
        Setting('long options of sbatch, such as "qos=long mem=16G exclude=n1,n2"', "", SLURM),
    ] = ""
    slurm_setup: Annotated[
        str, Setting('shell command before training, such as "module load cuda"', "", SLURM)
    ] = ""
    slurm_folder: Annotated[
        str,
        Setting(
            "folder for the jobs' logs, which all nodes see; empty is slurm, beside the state",
            "",
            SLURM,
        ),
    ] = ""
    slurm_watch: Annotated[
        Literal["on", "off"], Setting("off: submit the jobs and return", "", SLURM)
    ] = "on"
    slurm_cluster: Annotated[
        Literal["slurm", "local"],
        Setting("local runs the jobs as processes of this machine, to try things", "", SLURM),
    ] = "slurm"

    def _without_effect(self, name: str) -> str:
        executors = " or ".join(self.conditions()[name]["executor"])
        return (
            f"{name}: acts only with --executor {executors}, got {getattr(self, name)} "
            f"with {self.executor}; leave it out"
        )

    @property
    def sbatch_options(self) -> dict[str, str]:
        """The long options of sbatch by name.

        Raises
        ------
        ConfigError
            If they are not NAME=VALUE.
        """
        words = [word.removeprefix("--") for word in shlex.split(self.slurm_parameters)]
        wrong = [word for word in words if not word.partition("=")[0] or "=" not in word]
        if wrong:
            raise ConfigError(
                f"slurm_parameters: must be NAME=VALUE, got {wrong[0]!r}; "
                'e.g. --slurm-parameters "qos=long mem=16G"'
            )
        return dict(word.split("=", 1) for word in words)


def check_placement(placement: Placement, machine: Machine, workers: int) -> None:
    """Refuse what cannot be, before anything is asked of a cluster.

    Raises
    ------
    ConfigError
        If settings contradict each other.
    """
    if placement.executor == "processes":
        return
    name, device = placement.executor, machine.device
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"device: must be auto, cpu or cuda with --executor {name}, which hands out the GPUs, "
            f"got {device}; leave it out"
        )
    gpus = placement.gpus_per_worker
    if gpus != "auto" and device != "auto" and (float(gpus) > 0) != (device == "cuda"):
        raise ConfigError(
            f"gpus_per_worker: must agree with --device {device}, got {gpus}; leave one of them out"
        )
    if name == "slurm":
        placement.sbatch_options  # noqa: B018 - asked for its error
        if gpus not in ("auto", "0", "1"):
            raise ConfigError(
                f"gpus_per_worker: must be 0 or 1 with --executor slurm, got {gpus}; ask for a "
                'part of a GPU as your cluster names it, e.g. --slurm-parameters "gres=shard:1"'
            )
        if not workers:
            raise ConfigError(
                "workers: must say how many jobs the array has with --executor slurm, got 0; "
                "e.g. --workers 8"
            )


def gpus_of_a_worker(placement: Placement, device: str, *, there: bool) -> float:
    """The part of a GPU that each worker gets.

    Parameters
    ----------
    device
        The setting.
    there
        Whether the cluster has GPUs.

    Raises
    ------
    ConfigError
        If GPUs are asked for, and there are none.
    """
    asked = placement.gpus_per_worker
    if asked == "auto":
        asked = "1" if device == "cuda" or (device == "auto" and there) else "0"
    if float(asked) > 0 and not there:
        raise ConfigError(
            f"gpus_per_worker: must be 0, as the cluster has no GPU, got {asked}; "
            "give --gpus-per-worker 0 or --device cpu"
        )
    return float(asked)


def worker_machine(job: Job, placement: Placement, gpus: float) -> dict[str, Any]:
    """What of the machine's settings a worker of a cluster has otherwise."""
    return {
        "device": "cuda" if gpus else "cpu",
        "threads": job.machine.threads or placement.cpus_per_worker,
    }


def check_reach(job: Job, machines: int) -> str:
    """Refuse a store or leases which only one of several machines can reach.

    What comes back is a caution, to be put after a sentence; empty if there is no need for one.

    Parameters
    ----------
    machines
        How many train, this one included.

    Raises
    ------
    ConfigError
        With what to use instead.
    """
    if machines == 1:
        return ""
    server = "--tracking-uri http://… or postgresql://…"
    if job.tracking_uri.startswith(SQLITE) or "://" not in job.tracking_uri:
        raise ConfigError(
            f"tracking_uri: must be a server which all {machines} machines reach, "
            f"got {job.tracking_uri}; give {server}"
        )
    if not job.lease_database:
        raise ConfigError(
            f"storage: must be in PostgreSQL where {machines} machines train, since its locks keep "
            "two of them from the same run, got none; give --storage postgresql://…"
        )
    own = [a for a in (job.tracking_uri, job.lease_database) if host_of(a) in LOOPBACK]
    if not own:
        return ""
    return f" (each of which needs a way of its own, such as a tunnel, to {' and '.join(own)})"
