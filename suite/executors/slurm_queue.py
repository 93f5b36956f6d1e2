"""What SLURM's own commands say: which machines there are, and which jobs are in the queue."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass

from suite.basics.settings import ConfigError

COMMANDS = ("sbatch", "squeue", "sinfo", "scontrol")
PATIENCE = 60.0  # seconds for SLURM to answer


class QueueAwayError(ConnectionError):
    """SLURM does not answer now."""


@dataclass(frozen=True)
class Machines:
    """The machines of a partition."""

    names: frozenset[str]
    gpus: bool


def machines(partition: str) -> Machines:
    """What a partition has; empty is the default, of which all are taken.

    Raises
    ------
    ConfigError
        If SLURM is not there, or has no such partition.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"executor: slurm needs SLURM's commands, got no {missing[0]}; "
            "start the command on a login node"
        )
    chosen = [f"--partition={partition}"] if partition else []
    try:
        answer = _ask("sinfo", "--noheader", "--Node", "--format=%n|%G", *chosen)
    except QueueAwayError as error:
        raise ConfigError(
            f"executor: slurm must answer, got {error}; try `sinfo` by hand"
        ) from None
    lines = answer.splitlines()
    if not lines:
        raise ConfigError(
            f"slurm_partition: must be one that `sinfo` lists, got {partition!r}; "
            "give one of those, or leave it out"
        )
    pairs = [line.partition("|") for line in lines]
    return Machines(
        frozenset(name.strip() for name, _, _ in pairs), any("gpu" in has for _, _, has in pairs)
    )


def jobs_called(name: str) -> list[str]:
    """The ids of one's own jobs of a name that are in the queue, such as 12_0."""
    answer = _ask("squeue", "--noheader", "--array", "--format=%i", *_mine(), f"--name={name}")
    return sorted(answer.split(), key=lambda job: [int(part) for part in job.split("_")])


def states(job_ids: list[str]) -> Counter[str]:
    """How many of one's own jobs are in which state, such as RUNNING; only those in the queue.

    Raises
    ------
    QueueAwayError
        If SLURM does not answer.
    """
    answer = _ask("squeue", "--noheader", "--array", "--format=%i %T", *_mine())
    pairs = [line.split() for line in answer.splitlines()]
    return Counter(state for job, state in pairs if job in set(job_ids))


def _mine() -> tuple[str, str]:
    return "--user", str(os.getuid())


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise QueueAwayError(said[-1] if said else f"{command[0]} failed") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueAwayError(f"{command[0]}: {error}") from error
    return done.stdout
