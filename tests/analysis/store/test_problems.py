"""What is wrong with a store against what was done wrong to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from store_helpers import (
    CONFIGS,
    FAULTS,
    assert_same_history,
    empty_store,
    execute,
    expected_history,
    rows,
)

from analysis.store.frames import Store, load
from benchmarks.synthetic_store import Faults, Written, write
from benchmarks.synthetic_truth import Truth
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.metrics import EPOCH_METRIC_NAMES


def fingerprints(configs: list[RunConfig]) -> set[str]:
    return {config.fingerprint for config in configs}


def test_a_clean_store_has_no_problems(clean: tuple[str, Written, Store]) -> None:
    problems = clean[2].problems
    assert not problems
    assert str(problems) == "no problems: one finished, complete run of each configuration"


def test_only_what_finished_is_in_the_frames(faulty: tuple[str, Written, Store]) -> None:
    _, written, loaded = faulty
    assert set(loaded.runs["fingerprint"]) == fingerprints(written.finished())
    assert len(loaded.runs) == 30 - FAULTS.missing - FAULTS.unfinished
    assert loaded.runs["fingerprint"].is_unique


def test_of_duplicates_the_one_asked_for_last_counts_alone_and_the_others_are_listed(
    faulty: tuple[str, Written, Store],
) -> None:
    """Whenever it began: here the clocks of the others ran ahead."""
    _, written, loaded = faulty
    listed = loaded.problems.duplicates
    assert set(listed["fingerprint"]) == fingerprints(written.by_fault["duplicates"])
    assert set(listed["kept_run_id"]) <= set(loaded.runs["run_id"])
    assert not set(listed["run_id"]) & set(loaded.runs["run_id"])
    kept = loaded.runs.set_index("run_id").loc[listed["kept_run_id"], "start_time"]
    assert (kept.to_numpy() < listed["start_time"].to_numpy()).all()


def test_epochs_that_were_logged_twice_keep_the_later_values_and_holes_stay_holes(
    faulty: tuple[str, Written, Store],
) -> None:
    """The older duplicates and deleted runs have other noise, so this sees them as well."""
    _, written, loaded = faulty
    gaps = fingerprints(written.by_fault["gaps"])
    expected = expected_history(
        written,
        loaded,
        without=lambda config, epoch: config.fingerprint in gaps and epoch in (2, 4),
    )
    assert_same_history(loaded.history, expected)


def test_diverged_runs_are_marked_and_their_nan_and_inf_restored(
    faulty: tuple[str, Written, Store],
) -> None:
    _, written, loaded = faulty
    diverged = loaded.runs[loaded.runs["diverged"]]
    assert set(diverged["fingerprint"]) == fingerprints(written.by_fault["diverged"])
    for run_id in diverged["run_id"]:
        history = loaded.history[loaded.history["run_id"] == run_id]
        assert len(history) == 3
        assert np.isnan(history["val_loss"].iloc[-1])
        assert np.isposinf(history["kernel_norm"].iloc[-1])
        assert np.isfinite(history["val_accuracy"]).all()
    assert loaded.problems.incomplete["run_id"].isin(diverged["run_id"]).sum() == 0


def test_negative_infinity_and_nan_in_the_summary_come_back(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:1])
    client = MlflowClient(uri)
    run_id = load("synthetic", uri, cache=False).runs["run_id"][0]
    client.log_metric(run_id, "val_loss", float("-inf"), timestamp=2**41, step=3)
    client.log_metric(run_id, "test_loss", float("nan"), timestamp=2**41, step=0)
    client.log_metric(run_id, "test_accuracy", float("inf"), timestamp=2**41, step=0)
    loaded = load("synthetic", uri, cache=False)
    assert np.isneginf(loaded.history["val_loss"][2])
    assert np.isnan(loaded.runs["test_loss"][0])
    assert np.isposinf(loaded.runs["test_accuracy"][0])


def test_holes_are_told_with_their_epochs(faulty: tuple[str, Written, Store]) -> None:
    _, written, loaded = faulty
    listed = loaded.problems.incomplete
    assert set(listed["fingerprint"]) == fingerprints(written.by_fault["gaps"])
    assert listed["missing_epochs"].tolist() == [2, 2]
    assert listed["epochs"].tolist() == ["2, 4", "2, 4"]


def test_one_metric_that_was_never_logged_is_a_hole_and_nan(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:2])
    execute(uri, "DELETE FROM metrics WHERE key = 'kernel_norm' AND step IN (1, 2, 3, 5)")
    loaded = load("synthetic", uri, cache=False)
    assert loaded.problems.incomplete["epochs"].tolist() == ["1-3, 5", "1-3, 5"]
    lost = loaded.history["epoch"].isin([1, 2, 3, 5])
    assert np.isnan(loaded.history.loc[lost, "kernel_norm"]).all()
    assert np.isfinite(loaded.history.loc[~lost, "kernel_norm"]).all()
    assert np.isfinite(loaded.history["val_loss"]).all()


def test_epochs_lost_at_the_end_are_holes_too(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:1])
    names = ", ".join(f"'{name}'" for name in EPOCH_METRIC_NAMES)
    execute(uri, f"DELETE FROM metrics WHERE key IN ({names}) AND step > 4")
    execute(uri, f"UPDATE latest_metrics SET step = 4 WHERE key IN ({names})")
    assert load("synthetic", uri, cache=False).problems.incomplete["epochs"].tolist() == ["5-6"]
    execute(uri, "DELETE FROM latest_metrics WHERE key = 'epochs_trained'")
    assert load("synthetic", uri, cache=False).problems.incomplete["epochs"].tolist() == ["5-6"]


def test_a_finished_run_without_any_history_keeps_its_row(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:2])
    names = ", ".join(f"'{name}'" for name in EPOCH_METRIC_NAMES)
    first = rows(uri, "SELECT run_uuid FROM runs ORDER BY run_uuid")[0][0]
    for table in ("metrics", "latest_metrics"):
        execute(uri, f"DELETE FROM {table} WHERE key IN ({names}) AND run_uuid = ?", [first])
    loaded = load("synthetic", uri, cache=False)
    assert len(loaded.runs) == 2
    assert len(loaded.history) == 6
    assert loaded.problems.incomplete["epochs"].tolist() == ["1-6"]


def test_unfinished_runs_are_listed_with_status_and_last_epoch(
    faulty: tuple[str, Written, Store],
) -> None:
    _, written, loaded = faulty
    listed = loaded.problems.unfinished
    assert set(listed["fingerprint"]) == fingerprints(written.by_fault["unfinished"])
    assert set(listed["status"]) == {"RUNNING", "KILLED", "FAILED"}
    assert listed["last_epoch"].tolist() == [4, 4, 4]
    assert listed["finished_elsewhere"].tolist() == [False] * 3


def test_an_abandoned_run_of_a_finished_configuration_says_so(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:2])
    write(uri, CONFIGS[:1], faults=Faults(unfinished=1), truth=Truth(seed=1))
    listed = load("synthetic", uri, cache=False).problems.unfinished
    assert listed["finished_elsewhere"].tolist() == [True]


def test_missing_points_are_those_of_the_declared_experiment(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    norm = list(EXPERIMENTS["norm-aug"].configs())
    written = write(uri, norm[:8], experiment="norm-aug", faults=Faults(missing=1, unfinished=1))
    problems = load("norm-aug", uri, cache=False).problems
    done = fingerprints(written.finished())
    assert set(problems.missing["fingerprint"]) == fingerprints(norm) - done
    assert problems.points == 200
    assert problems.other_runs == 0
    axes = list(EXPERIMENTS["norm-aug"].axes)
    assert list(problems.missing.columns) == ["fingerprint", "run_name", *axes]
    assert "points without a finished run: 194 of 200\n" in str(problems)


def test_runs_with_changed_settings_are_no_points_of_the_experiment(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS, experiment="demo")  # six epochs instead of sixty
    problems = load("demo", uri, cache=False).problems
    assert len(problems.missing) == EXPERIMENTS["demo"].size
    assert problems.other_runs == 30
    assert "runs that are no point of the experiment as declared: 30" in str(problems)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("UPDATE tags SET value = 'no JSON' WHERE key = 'config'", "its tag config cannot be read"),
        ("UPDATE tags SET value = '[1]' WHERE key = 'config'", "it is no table of settings"),
        (
            "UPDATE tags SET value = replace(hex(zeroblob(5000)), '0', '[') WHERE key = 'config'",
            "nested more deeply",
        ),
        (
            'UPDATE tags SET value = replace(value, \'"epochs"\', \'"seed": Infinity, "x"\') '
            "WHERE key = 'config'",
            "its tag config cannot be read: cannot convert float infinity",
        ),
        ("UPDATE tags SET value = '{}' WHERE key = 'config'", "its tag config lacks settings"),
        ("UPDATE params SET value = 'x' WHERE key = 'test_images'", "test_images is 'x'"),
        ("DELETE FROM params WHERE key = 'train_images'", "train_images is 'absent'"),
    ],
)
def test_runs_whose_settings_cannot_be_read_are_left_out_with_the_reason(
    tmp_path: Path, query: str, reason: str
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:4])
    victim = rows(uri, "SELECT run_uuid FROM runs")[0][0]
    execute(uri, f"{query} AND run_uuid = ?", [victim])
    loaded = load("synthetic", uri, cache=False)
    assert len(loaded.runs) == 3
    assert loaded.problems.unreadable["run_id"].tolist() == [victim]
    assert reason in loaded.problems.unreadable["reason"][0]
    assert reason in str(loaded.problems)


def run_of(uri: str, config: RunConfig) -> str:
    query = "SELECT run_uuid FROM tags WHERE value = ?"
    ((run_id,),) = rows(uri, query, [config.fingerprint])
    return str(run_id)


@pytest.mark.parametrize("edited", ["fingerprint", "config"])
def test_a_run_whose_settings_do_not_give_its_fingerprint_is_left_out_and_named(
    tmp_path: Path, edited: str
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:3])
    victim = run_of(uri, CONFIGS[1])
    value = "0" * 16 if edited == "fingerprint" else CONFIGS[2].model_dump_json()
    edit = "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?"
    execute(uri, edit, [value, victim, edited])
    loaded = load("synthetic", uri, cache=False)
    assert victim not in set(loaded.runs["run_id"])
    assert "its fingerprint is not that of its tag config" in str(loaded.problems)


def test_a_finished_run_without_metrics_is_one_with_holes(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:3])
    victim = run_of(uri, CONFIGS[1])
    for table in ("metrics", "latest_metrics"):
        execute(uri, f"DELETE FROM {table} WHERE run_uuid = ?", [victim])
    found = load("synthetic", uri, cache=False).problems.incomplete
    assert found["run_id"].tolist() == [victim]
    assert found["epochs"].tolist() == [f"1-{CONFIGS[1].epochs}"]


def test_problems_read_well_in_a_terminal(faulty: tuple[str, Written, Store]) -> None:
    text = str(faulty[2].problems)
    assert bool(faulty[2].problems)
    assert "unfinished runs: 3\n" in text
    assert " (RUNNING at epoch 4)" in text
    assert "finished runs with holes in their history: 2\n" in text
    assert " (epochs 2, 4)" in text
    assert "set aside for another one of the same configuration: 2\n" in text
    assert max(map(len, text.splitlines())) <= 100
