"""An analysis in MLflow: its run holds all of it, and no sweep ever notices."""

from __future__ import annotations

import socket
from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_TYPE
from mlflow.utils.validation import _validate_metric_name
from mlflow_stores import Store
from store_helpers import CONFIGS, write

from analysis.store.frames import load
from analysis.tracked import (
    EXPERIMENT,
    TrackingError,
    logged,
    metric_name,
    tracked_run,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def sweep(store: Store) -> Store:
    """A store with four training runs in the experiment `plane`."""
    write(store.uri, CONFIGS[:4], experiment="plane")
    return store


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    path = tmp_path / "figure.svg"
    path.write_text("<svg/>")
    return path


def log(uri: str, *files: Path, **metrics: float) -> bool:
    return logged(
        "phase_diagram",
        uri,
        experiments=["plane"],
        runs=4,
        metrics=metrics,
        files={"figures": files},
    )


def runs_of(store: Store, experiment: str = EXPERIMENT) -> list[Run]:
    client = MlflowClient(store.uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id]))


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_an_analysis_is_a_finished_run_with_numbers_and_files(
    sweep: Store, figure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log(sweep.uri, figure, memory_pp=12.5, unknown=np.nan)
    (run,) = runs_of(sweep)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"analysed_experiments": "plane", "analysed_runs": "4"}
    assert run.data.metrics == {"memory_pp": 12.5}
    assert run.data.tags["kind"] == "phase_diagram"
    assert run.data.tags["code_version"]
    artifacts = MlflowClient(sweep.uri).list_artifacts(run.info.run_id, "figures")
    assert [item.path for item in artifacts] == ["figures/figure.svg"]
    said = f"logged to MLflow as run {run.info.run_id} of the experiment analysis\n"
    assert capsys.readouterr().out == said


def test_a_memory_of_another_setting_than_sigma_w_is_logged_with_its_name(sweep: Store) -> None:
    about = {"experiments": ["plane"], "runs": 4, "metrics": {}, "files": {}}
    assert logged("phase_diagram", sweep.uri, **about, perturbed=["sigma_b"])
    (run,) = runs_of(sweep)
    assert run.data.params["perturbed_settings"] == "sigma_b"


def test_files_lie_beside_the_store_wherever_the_command_runs(
    sweep: Store, figure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert log(sweep.uri, figure)
    assert not list(elsewhere.iterdir())
    (kept,) = (sweep.path.parent / "mlruns" / EXPERIMENT).rglob("figure.svg")
    assert kept.read_text() == "<svg/>"


def test_an_analysis_is_never_the_newest_experiment_nor_a_training_run(sweep: Store) -> None:
    before = load("", sweep.uri, cache=False)
    assert log(sweep.uri)
    after = load("", sweep.uri, cache=False)
    assert after.experiment == "plane"
    assert after.runs["run_id"].tolist() == before.runs["run_id"].tolist()


def test_an_analysis_logged_into_the_sweeps_own_experiment_is_no_run_of_it(sweep: Store) -> None:
    with tracked_run("report", experiment="plane", tracking_uri=sweep.uri):
        pass
    assert len(runs_of(sweep, "plane")) == 5
    found = load("plane", sweep.uri, cache=False)
    assert len(found.runs) == 4
    assert not found.problems.unfinished.size


def test_inside_mlflow_run_its_run_is_taken(
    sweep: Store, figure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {MLFLOW_SOURCE_TYPE: "PROJECT"}
    begun = MlflowClient(sweep.uri).create_run("0", tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    assert log(sweep.uri, figure)
    run = MlflowClient(sweep.uri).get_run(begun)
    assert (run.info.status, run.data.tags["kind"]) == ("FINISHED", "phase_diagram")
    assert MlflowClient(sweep.uri).get_experiment_by_name(EXPERIMENT) is None


def test_a_run_id_left_in_the_shell_leaves_that_run_as_it_is(
    sweep: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(sweep.uri)
    old = client.create_run("0", run_name="somebody's").info.run_id
    client.set_terminated(old)
    before = client.get_run(old).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", old)
    assert log(sweep.uri)
    said, complaint = capsys.readouterr()
    assert complaint == (
        f"MLFLOW_RUN_ID: must be a run that `mlflow run` has just begun, got {old!r} "
        "(it is FINISHED); ignored\n"
    )
    assert said.rstrip().endswith(f"of the experiment {EXPERIMENT}")
    assert client.get_run(old).to_dictionary() == before
    assert len(runs_of(sweep)) == 1


def test_an_analysis_that_breaks_is_a_failed_run(sweep: Store) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        tracked_run("report", tracking_uri=sweep.uri, params={"seed": 0}),
    ):
        raise ZeroDivisionError
    (run,) = runs_of(sweep)
    assert run.info.status == "FAILED"
    assert mlflow.active_run() is None


def test_a_server_that_is_away_costs_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{closed_port()}"
    assert not log(f"http://me:secret@{address}")
    (line,) = capsys.readouterr().err.splitlines()
    told = "not logged to MLflow: tracking_uri: no server answers, got http://me:***@127."
    assert line.startswith(told)
    assert "secret" not in line


def test_artifacts_that_cannot_be_kept_cost_one_line(
    sweep: Store, figure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = sweep.path.parent / "mlruns" / EXPERIMENT
    artifacts.parent.mkdir(exist_ok=True)  # some versions of MLflow have made it
    artifacts.write_text("a file where the folder should be")
    assert not log(sweep.uri, figure)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not logged to MLflow: ")
    (run,) = runs_of(sweep)
    assert run.info.status == "FAILED"


def test_a_refused_address_is_told_without_its_password(store: Store) -> None:
    with pytest.raises(TrackingError) as refused, tracked_run("x", tracking_uri="odd://me:pw@host"):
        pass
    assert str(refused.value).startswith("--tracking-uri: an address that MLflow can write to")
    assert "'odd://me:***@host'" in str(refused.value)
    assert "pw" not in str(refused.value)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_any_label_becomes_a_name_that_mlflow_takes(parts: list[str]) -> None:
    _validate_metric_name(metric_name(*parts))


def test_a_recipe_reads_well_as_a_metrics_name() -> None:
    name = metric_name("memory_pp", "lr-l2", "sgd η=0.001 b16 λ=0.01")
    assert name == "memory_pp/lr-l2/sgd eta 0.001 b16 lambda 0.01"
