"""Predictions of runs that an earlier version trained are those which a run of this one keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_helpers import WholeWorker, some_job
from mlflow_stores import Store

from suite import keep_predictions
from suite.declarations.config import parse
from suite.declarations.predictions import PREDICTIONS_FILE, decoded


def train(store: Store, folder: Path, count: int) -> None:
    """Train runs as one fleet, and wait until MLflow has all of them."""
    fixed = {"width": 2, "batch_size": 8, "epochs": 2, "train_fraction": 0.05}
    configs = [parse(fixed | {"seed": seed}) for seed in range(count)]
    job = some_job(folder, configs=configs, tracking_uri=store.uri)
    WholeWorker(job, [].append, lambda: False).run()


def kept(folder: Path) -> dict[str, bytes]:
    """Run id to the file of its predictions."""
    files = folder.glob(f"mlruns/*/*/artifacts/best/{PREDICTIONS_FILE}")
    return {file.parents[2].name: file.read_bytes() for file in files}


def forget(store: Store, folder: Path) -> None:
    """Leave the finished runs as an earlier version had them."""
    for file in folder.glob(f"mlruns/*/*/artifacts/best/{PREDICTIONS_FILE}"):
        file.unlink()
    for table in ("metrics", "latest_metrics"):
        store.execute(f"DELETE FROM {table} WHERE key IN ('test_nll', 'test_ece')")


def test_a_sweep_keeps_them_and_earlier_runs_get_the_same_ones_once(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(store, tmp_path, 2)
    before = kept(tmp_path)
    metrics = {run_id: store.latest(run_id) for run_id in before}
    assert len(before) == 2
    for run_id, content in before.items():
        found = decoded(content, store.tags(run_id)["fingerprint"])
        assert found.accuracy == metrics[run_id]["test_accuracy"]
        assert found.calibration_error == metrics[run_id]["test_ece"]
    forget(store, tmp_path)
    command = ["--experiment", "sweep", "--tracking-uri", store.uri, "--device", "cpu"]
    assert keep_predictions.main(command) == 0
    assert kept(tmp_path) == before
    assert {run_id: store.latest(run_id) for run_id in before} == metrics
    assert keep_predictions.main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sweep: 2 made",
        "sweep: 2 there already",
    ]
    count = store.rows("SELECT COUNT(*) FROM metrics WHERE key = 'test_ece'")
    assert count == [(2,)]


def test_a_model_that_does_not_give_its_logged_accuracy_again_gets_no_predictions(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(store, tmp_path, 1)
    forget(store, tmp_path)
    store.execute("UPDATE latest_metrics SET value = 0.99 WHERE key = 'test_accuracy'")
    assert keep_predictions.main(["--experiment", "sweep", "--tracking-uri", store.uri]) == 1
    told = capsys.readouterr()
    assert told.out == "sweep: 1 failed\n"
    assert "test_accuracy: must be the logged one, 0.99, got " in told.err
    assert len(told.err.splitlines()) == 1
    assert kept(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "experiment: must be named, got nothing; give --experiment NAME"),
        (["--experiment", "none"], "experiment: must be in the store, got 'none'"),
        (["--experiment", "sweep", "--device", "gpu"], "device: "),
        (["--experiment", "sweep", "--tracking-uri", "sqlite:///no.db"], "tracking_uri: no such"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    words: list[str], line: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if "--tracking-uri" in words else ["--tracking-uri", store.uri]
    assert keep_predictions.main([*words, *where]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {line}")
    assert len(told.splitlines()) == 1
