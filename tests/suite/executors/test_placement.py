"""Placement: what contradicts itself or cannot be reached is refused before anything starts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from job_helpers import some_job

from suite.basics.settings import ConfigError
from suite.declarations.machine import Machine
from suite.executors.placement import (
    Placement,
    check_placement,
    check_reach,
    gpus_of_a_worker,
    worker_machine,
)
from suite.executors.places import find_place
from suite.grid import main
from suite.worker.messages import Job

SERVER = {
    "tracking_uri": "http://keeper:5000",
    "lease_database": "postgresql://suite@keeper/optuna",
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return some_job(tmp_path, state_dir=tmp_path, machine=Machine(), workers=2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--executor kubernetes", "executor: must be one of processes, ray, slurm"),
        ("--executor rya", "did you mean ray?"),
        ("--ray-address auto", "ray_address: acts only with --executor ray, got auto"),
        (
            "--executor ray --slurm-partition gpu",
            "slurm_partition: acts only with --executor slurm",
        ),
        ("--gpus-per-worker 1", "acts only with --executor ray or slurm, got 1 with processes"),
        ("--executor ray --gpus-per-worker 1.5", "gpus_per_worker: must be auto"),
        ("--executor ray --gpus-per-worker 0.0", "gpus_per_worker: must be auto"),
        ("--executor ray --cpus-per-worker 0", "cpus_per_worker: "),
        ("--executor ray --device cuda:1", "device: must be auto, cpu or cuda with --executor ray"),
        (
            "--executor ray --device cpu --gpus-per-worker 1",
            "gpus_per_worker: must agree with --device cpu, got 1",
        ),
        ("--executor slurm", "workers: must say how many jobs the array has"),
        (
            "--executor slurm --workers 2 --gpus-per-worker .5",
            "gpus_per_worker: must be 0 or 1 with --executor slurm, got .5",
        ),
        ("--executor slurm --workers 2 --slurm-time-limit 1", "slurm_time_limit: "),
        (
            "--executor slurm --workers 2 --slurm-parameters qos",
            "slurm_parameters: must be NAME=VALUE, got 'qos'",
        ),
    ],
)
def test_impossible_placement_is_one_line_and_exit_code_2(
    arguments: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (only,) = printed.err.splitlines()
    assert only.startswith("error: ")
    assert line in only


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.startswith(("ray", "submitit", "suite.executors."))]:
        if name.split(".")[0] in ("ray", "submitit") or "ray_" in name or "slurm_" in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "submitit", None)


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_with_the_extra_that_has_it(
    job: Job, executor: str, package: str
) -> None:
    placement = Placement.parse({"executor": executor})
    with pytest.raises(ConfigError) as refused:
        find_place(placement, job, 2)
    assert str(refused.value) == (
        f"executor: {executor} needs its extra, got no module {package}; "
        f"pip install 'initialization-memory[{executor}]'"
    )


@pytest.mark.parametrize(
    ("given", "device", "there", "gpus"),
    [
        ("auto", "auto", True, 1.0),
        ("auto", "auto", False, 0.0),
        ("auto", "cpu", True, 0.0),
        ("0.25", "auto", True, 0.25),
        ("0", "auto", True, 0.0),
    ],
)
def test_a_worker_gets_a_gpu_where_there_are_some_unless_told_otherwise(
    job: Job, given: str, device: str, there: bool, gpus: float
) -> None:
    placement = Placement.parse({"executor": "ray", "gpus_per_worker": given})
    assert gpus_of_a_worker(placement, device, there=there) == gpus
    machine = job.machine.model_copy(update=worker_machine(job, placement, gpus))
    assert machine.device == ("cuda" if gpus else "cpu")


@pytest.mark.parametrize(("given", "device"), [("1", "auto"), ("auto", "cuda")])
def test_a_gpu_on_a_cluster_without_one_is_refused(given: str, device: str) -> None:
    placement = Placement.parse({"executor": "ray", "gpus_per_worker": given})
    with pytest.raises(ConfigError, match="must be 0, as the cluster has no GPU, got 1"):
        gpus_of_a_worker(placement, device, there=False)


@pytest.mark.parametrize(("threads", "used"), [(0, 3), (2, 2)])
def test_threads_are_a_workers_cores_unless_they_are_set(job: Job, threads: int, used: int) -> None:
    placement = Placement.parse({"executor": "ray", "cpus_per_worker": 3})
    job = replace(job, machine=Machine(threads=threads))
    assert worker_machine(job, placement, 0.0)["threads"] == used


def test_one_machine_may_keep_everything_in_files(job: Job) -> None:
    assert check_reach(job, 1) == ""


def test_several_machines_need_a_server_and_leases_in_postgresql(job: Job) -> None:
    with pytest.raises(ConfigError, match="tracking_uri: must be a server which all 3 machines"):
        check_reach(job, 3)
    with pytest.raises(ConfigError, match="storage: must be in PostgreSQL where 3 machines train"):
        check_reach(replace(job, tracking_uri=SERVER["tracking_uri"]), 3)
    assert check_reach(replace(job, **SERVER), 3) == ""


def test_a_store_on_loopback_comes_with_a_caution(job: Job) -> None:
    there = replace(job, **SERVER | {"tracking_uri": "http://127.0.0.1:5000"})
    caution = check_reach(there, 2)
    assert "a tunnel" in caution
    assert "127.0.0.1:5000" in caution


def test_options_of_sbatch_are_taken_as_a_shell_would() -> None:
    given = 'qos=long --exclude=n1,n2 comment="a sweep"'
    placement = Placement.parse({"executor": "slurm", "slurm_parameters": given})
    check_placement(placement, Machine(), 2)
    assert placement.sbatch_options == {"qos": "long", "exclude": "n1,n2", "comment": "a sweep"}
