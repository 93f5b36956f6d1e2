"""The sweep's command line: what it shows, what it refuses, and its exit codes."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow_stores import Store

from suite import grid
from suite.basics import server
from suite.declarations.experiments import EXPERIMENTS, GROUPS
from suite.grid import main
from suite.sweep.outcome import Outcome

TINY = [
    *("--set", "optimizer=sgd", "--set", "learning_rate=0.01", "--set", "sigma_w=0.5,2.5"),
    *(
        "--set",
        "seed=0",
        "--set",
        "batch_size=64",
        "--set",
        "width=2",
        "--set",
        "epochs=3",
        "--set",
        "train_fraction=0.1",
    ),
    *("--fleet", "2", "--workers", "1", "--threads", "1", "--device", "cpu"),
]
RECIPE = "sgd b64 η=0.01 train 0.1 width 2 BN momentum 0.9 3 epochs"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in grid.QUIET.items():  # set here, so that they are undone
        monkeypatch.setenv(name, value)


def test_list_shows_every_experiment_with_its_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # as wide as no line is
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    for name, experiment in EXPERIMENTS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert line.split()[1] == f"{experiment.size:,}"
    for group, names in GROUPS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{group} ")]
        assert line.split()[1] == f"{sum(EXPERIMENTS[name].size for name in names):,}"
        assert all(name in line for name in names)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--experiment", "mian"], "did you mean main?"),
        (["--experiment", "missing.toml"], "must be readable"),
        (["--set", "sigma_w=-1"], "sigma_w: must be greater than 0, got '-1'"),
        (["--set", "sigma=1"], "did you mean sigma_w?"),
        (["--set", "epochs"], "set: must be NAME=VALUE,VALUE, got 'epochs'"),
        (["--set", "epochs="], "epochs: must have a value, got none"),
        (["--set", "width=0,64"], "drop the axis that has no effect"),
        (["--set", "batch_size=2000"], "batch_size: must not exceed the 230 training images"),
        (["--set", "dataset=folder", "--data-dir", "nowhere"], "nowhere"),
        (["--fleet", "0"], "fleet: must be auto or a whole number ≥ 1, got '0'"),
        (["--workers", "-1"], "workers: must be a whole number ≥ 0, got '-1'"),
        (["--retries", "many"], "retries: must be a whole number ≥ 0, got 'many'"),
        (["--device", "tpu"], "device: "),
        (["--device", "cuda:99"], "device: must exist on this machine, got cuda:99"),
        (["--worker", "3"], "did you mean workers?"),
        (["--storage", "nonsense"], "storage: must be a database URL, got 'nonsense'"),
        (["--set"], "--set: expected one argument"),
    ],
)
def test_impossible_input_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = ["--tracking-uri", store.uri]
    assert main([*arguments, *uri]) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_deleted_experiment_is_one_line_and_exit_code_2(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(store.uri)
    client.delete_experiment(client.create_experiment("demo"))
    assert main([*TINY, "--tracking-uri", store.uri]) == 2
    line = "error: experiment: must not be a deleted experiment, got 'demo'; "
    captured = capsys.readouterr()
    assert captured.err.startswith(line)
    assert (captured.err.count("\n"), captured.out) == (1, "")


@pytest.mark.usefixtures("in_this_process")
def test_experiments_with_commas_run_in_turn(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [*TINY, "--set", "batch_size=16", "--tracking-uri", store.uri]
    assert main(["--experiment", "mini-main,demo", *few]) == 0
    text = capsys.readouterr().out
    assert text.index("mini-main: 2 of 2 runs done") < text.index("demo: 2 of 2 runs done")
    assert main(["--experiment", "demo,mini-main", *few]) == 0
    assert capsys.readouterr().out.count("nothing to do") == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--experiment", "mini", "--set", "epochs=0"], "epochs: must be greater than"),
        (["--experiment", "demo,mian"], "did you mean main?"),
        (["--experiment", "demo,mini-main", "--set", "batch_size=231"], "230 training images"),
        (["--experiment", ","], "experiment: must be a name"),
    ],
)
def test_what_one_of_several_experiments_cannot_be_is_said_before_any_is_trained(
    arguments: list[str], line: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--set", "seed=0", "--set", "sigma_w=1", "--workers", "1", "--device", "cpu"]
    assert main([*arguments, *few, "--tracking-uri", store.uri]) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.count("\n") == 1
    assert store.rows("SELECT * FROM runs") == []


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1", "nonsense://x", "sqlite:////proc/nowhere/mlflow.db"]
)
def test_a_store_that_cannot_be_reached_is_one_line_and_exit_code_1(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "PATIENCE", 0.0)
    assert main(["--tracking-uri", uri]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_sweep_runs_to_its_end_and_then_there_is_nothing_to_do(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "--tracking-uri", store.uri]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "demo: 2 of 2 runs done; 0 left" in captured.out
    assert f"to look: mlflow ui --backend-store-uri {store.uri}" in captured.out
    first = captured.err.splitlines()[0]
    assert first == f"demo: 2 of 2 runs to do, 1 worker; MLflow at {store.uri}", "wrapped"
    assert (store.path.parent / "optuna.db").exists()
    names = store.rows("SELECT name, status FROM runs ORDER BY name")
    assert names == [
        (f"{RECIPE}", "FINISHED"),
        (f"{RECIPE} σw=0.5 seed 0", "FINISHED"),
        (f"{RECIPE} σw=2.5 seed 0", "FINISHED"),
    ]
    (recipe,) = store.rows("SELECT run_uuid FROM runs WHERE name LIKE '%epochs'")
    parents = store.rows("SELECT value FROM tags WHERE key = 'mlflow.parentRunId'")
    assert parents == [recipe, recipe]
    store.execute(
        "UPDATE runs SET status = 'RUNNING' WHERE name LIKE '%epochs'"
    )  # killed just then
    (store.path.parent / "optuna.db").unlink()
    assert main(arguments) == 0
    assert capsys.readouterr().out == "demo: all 2 runs are finished; nothing to do\n"
    assert store.rows("SELECT status FROM runs WHERE name LIKE '%epochs'") == [("FINISHED",)]
    assert (store.path.parent / "optuna.db").exists()
    again = trained_again(store, "%σw=0.5 seed 0")
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == "demo: all 2 runs are finished; nothing to do\n"
    (line,) = captured.err.splitlines()
    assert line.startswith("finished runs: 1 have other finished runs in MLflow")
    assert f"(run {again})" in line
    study = stored_study(store)
    trials = {trial.user_attrs["mlflow_run_id"]: trial.value for trial in study.trials}
    assert len(trials) == 2
    assert trials[again] == 0.75


def stored_study(store: Store) -> optuna.Study:
    return optuna.load_study(
        study_name=None, storage=f"sqlite:///{store.path.parent / 'optuna.db'}"
    )


def trained_again(store: Store, name: str) -> str:
    """A second finished run of a configuration, as if the first had been deleted and restored."""
    client = MlflowClient(store.uri)
    ((first, experiment),) = store.rows(
        "SELECT run_uuid, experiment_id FROM runs WHERE name LIKE ?", name
    )
    tags = store.tags(first) | {"attempt": "2"}
    run_id = client.create_run(str(experiment), start_time=1, tags=tags).info.run_id
    client.log_metric(run_id, "test_accuracy", 0.75)
    client.set_terminated(run_id, end_time=2)  # by a clock that is behind
    return str(run_id)


@pytest.mark.parametrize(
    ("outcome", "stopped", "code"),
    [
        (Outcome("done"), False, 0),
        (Outcome("one failed", failed={"f": ("run", "why")}, left=1), False, 1),
        (Outcome("a worker stopped", broken=["why"]), False, 1),
        (Outcome("not uploaded", left=3), False, 1),
        (Outcome("stopped", left=3), True, 130),
    ],
)
def test_exit_codes(
    outcome: Outcome, stopped: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    class Sweep:
        left = (1,)

        def run(self, _stop: object) -> Outcome:
            if stopped:
                os.kill(os.getpid(), 2)
            return outcome

    assert grid._run(Sweep()) == code  # type: ignore[arg-type]
    assert capsys.readouterr().out == f"{outcome.text}\n"


def test_ctrl_c_before_training_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_arguments: object, do: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "_sweep", stop)
    assert main([]) == 130
    assert "interrupted" in capsys.readouterr().err
