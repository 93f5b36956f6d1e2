"""``mlflow run .`` for real: MLflow's own runner, its own process, this project.

The runner begins a run before the command has seen its settings, and ends it afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow_stores import Store
from training_commands import ROOT

SETTINGS = {
    "optimizer": "adam",
    "epochs": "2",
    "width": "4",
    "train_fraction": "2e-1",
    "threads": "1",
}


def mlflow_run(store: Store, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": store.uri,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"]
    for name, value in settings.items():
        command += ["-P", f"{name}={value}"]
    return subprocess.run(
        command,
        env=environment,
        cwd=store.path.parent,
        text=True,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def wait_until_only(store: Store, run_ids: list[str]) -> None:
    """The command leaves the removal of the runner's run to a process that outlives both."""
    end = time.monotonic() + 60
    while sorted(store.statuses()) != sorted(run_ids):
        assert time.monotonic() < end, store.statuses()
        time.sleep(0.1)


@pytest.mark.slow
def test_mlflow_run_trains_and_a_second_time_leaves_the_finished_run_alone(store: Store) -> None:
    ended = mlflow_run(store, SETTINGS)
    assert ended.returncode == 0, ended.stderr
    ((run_id, status),) = store.statuses().items()
    assert status == "FINISHED"
    params, tags = store.params(run_id), store.tags(run_id)
    assert (params["optimizer"], params["epochs"], params["train_fraction"]) == (
        "adam",
        "2",
        "2e-1",
    )
    assert params["train_images"] == "230"
    assert tags["mlflow.project.entryPoint"] == "main"
    assert (tags["state"], tags["diverged"]) == ("finished", "false")
    assert "test_accuracy" in store.latest(run_id)
    assert {epoch for _, epoch, _ in store.history(run_id)} == {1, 2}
    rows = store.rows("SELECT COUNT(*) FROM metrics")

    again = mlflow_run(store, SETTINGS | {"train_fraction": "0.2", "momentum": "0.9"})
    assert again.returncode == 0, again.stderr
    assert f"is finished already (run {run_id})" in again.stdout
    wait_until_only(store, [run_id])
    assert store.statuses() == {run_id: "FINISHED"}
    assert store.rows("SELECT COUNT(*) FROM metrics") == rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"learning_rte": "0.1"}, "learning_rte: is no setting, got '0.1'; did you mean learning_"),
        ({"sigma_w": "-1e-3"}, "sigma_w: must be greater than 0, got '-1e-3'; give a value > 0"),
        ({"optimizer": "adam", "momentum": "0.5"}, "momentum: acts only with optimizer=momentum"),
        ({"batch_size": "99999"}, "batch_size: must not exceed the 1150 training images, got "),
    ],
)
def test_an_impossible_parameter_is_answered_and_leaves_no_run(
    store: Store, settings: dict[str, str], line: str
) -> None:
    ended = mlflow_run(store, settings | {"threads": "1"})
    assert ended.returncode != 0
    output = (ended.stdout + ended.stderr).splitlines()
    complaints = [word for word in output if word.startswith("error: ")]
    assert len(complaints) == 1, output
    assert complaints[0].startswith(f"error: {line}")
    assert not any("suite/" in word for word in output if word.startswith("  File "))
    wait_until_only(store, [])
