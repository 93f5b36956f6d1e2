"""The frames against what was written, problems against what was done wrong, error lines."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_helpers import (
    CONFIGS,
    assert_same_history,
    empty_store,
    execute,
    expected_history,
    rows,
)

from analysis import store_sqlite
from analysis.store import Store, StoreError, load
from benchmarks.synthetic_store import Faults, Written, reduced, write
from benchmarks.synthetic_truth import SyntheticRun, Truth
from suite.clocks import learning_rates
from suite.config import RunConfig
from suite.experiments import EXPERIMENTS
from suite.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES

FAULTS = Faults(missing=2, unfinished=3, duplicates=2, gaps=2, diverged=2, repeated=2, deleted=2)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Written, Store]:
    uri = empty_store(tmp_path_factory.mktemp("clean"))
    written = write(uri, CONFIGS)
    return uri, written, load("synthetic", uri, cache=False)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Written, Store]:
    uri = empty_store(tmp_path_factory.mktemp("faulty"))
    written = write(uri, CONFIGS, faults=FAULTS)
    return uri, written, load("synthetic", uri, cache=False)


def fingerprints(configs: list[RunConfig]) -> set[str]:
    return {config.fingerprint for config in configs}


# Frames


def test_every_number_comes_back_as_it_was_written(clean: tuple[str, Written, Store]) -> None:
    _, written, loaded = clean
    assert len(loaded.history) == 30 * 6
    assert_same_history(loaded.history, expected_history(written, loaded))


def test_runs_carry_settings_image_counts_and_summary_in_their_types(
    clean: tuple[str, Written, Store],
) -> None:
    _, written, loaded = clean
    configs = {config.fingerprint: config for config in written.configs}
    assert set(loaded.runs["fingerprint"]) == set(configs)
    for row in loaded.runs.to_dict("records"):
        config = configs[row["fingerprint"]]
        assert {name: row[name] for name in RunConfig.names()} == config.model_dump()
        summary = SyntheticRun(config, written.truth, 0).summary
        found = {name: row[name] for name in SUMMARY_METRIC_NAMES if not np.isnan(row[name])}
        assert found == summary
        assert row["run_name"] == config.run_name
    kinds = loaded.runs.dtypes
    assert kinds["sigma_w"] == np.float64
    assert kinds["kernel_l2"] == np.float64
    assert kinds["seed"] == kinds["batch_size"] == kinds["train_images"] == np.int64
    assert kinds["diverged"] == np.bool_
    assert all(kinds[name] == np.float64 for name in SUMMARY_METRIC_NAMES)
    assert kinds["start_time"].kind == kinds["end_time"].kind == "M"
    assert loaded.runs["train_images"].unique().tolist() == [1150]
    assert loaded.runs["validation_images"].unique().tolist() == [288]
    assert loaded.runs["test_images"].unique().tolist() == [359]
    assert (loaded.runs["start_time"] >= pd.Timestamp("2026-01-01")).all()
    assert (loaded.runs["end_time"] > loaded.runs["start_time"]).all()


def test_the_codes_of_run_id_are_the_index_into_runs(clean: tuple[str, Written, Store]) -> None:
    runs, history = clean[2].runs, clean[2].history
    position = history["run_id"].cat.codes.to_numpy()
    assert (runs["run_id"].to_numpy()[position] == history["run_id"].astype(str)).all()
    assert history["epoch"].dtype == np.int32
    assert (np.diff(position) >= 0).all()


def test_runs_are_ordered_by_their_settings_not_by_their_time(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[::-1])
    loaded = load("synthetic", uri, cache=False)
    assert loaded.runs["sigma_w"].is_monotonic_increasing
    by_settings = loaded.runs.sort_values(["sigma_w", "seed", "optimizer"])
    assert by_settings.index.tolist() == list(range(len(CONFIGS)))


def test_a_setting_newer_than_a_run_has_the_value_which_the_run_implicitly_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:1])
    declared = RunConfig.about
    newer = dataclasses.replace(declared("sigma_b"), implicit=0.3)
    monkeypatch.setattr(
        RunConfig,
        "about",
        staticmethod(lambda name: newer if name == "sigma_b" else declared(name)),
    )
    older = CONFIGS[0].with_(sigma_b=0.3)
    assert older.fingerprint != CONFIGS[0].fingerprint
    settings = {k: v for k, v in older.model_dump().items() if k != "sigma_b"}
    execute(uri, "UPDATE tags SET value = ? WHERE key = 'config'", [json.dumps(settings)])
    assert "its fingerprint is not that of the rest" in error("synthetic", uri)
    execute(uri, "UPDATE tags SET value = ? WHERE key = 'fingerprint'", [older.fingerprint])
    assert load("synthetic", uri, cache=False).runs["sigma_b"].tolist() == [0.3]


def test_a_run_without_the_tag_config_is_read_from_its_parameters(
    tmp_path: Path, clean: tuple[str, Written, Store]
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS)
    execute(uri, "DELETE FROM tags WHERE key = 'config'")
    execute(uri, "UPDATE params SET value = '1e-3' WHERE key = 'learning_rate'")
    found = load("synthetic", uri, cache=False).runs
    pd.testing.assert_frame_equal(found, clean[2].runs)


def test_the_slope_on_sigma_w_is_the_known_beta(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    truth = Truth(seed=3, mean_sigma_w=1.18, noise=0.0, seed_effect=0.01)
    written = write(uri, CONFIGS, truth=truth)
    loaded = load("synthetic", uri, cache=False)
    position = loaded.history["run_id"].cat.codes.to_numpy()
    table = loaded.history.assign(
        sigma_w=loaded.runs["sigma_w"].to_numpy()[position],
        optimizer=loaded.runs["optimizer"].to_numpy()[position],
    )
    for config in (c for c in written.configs if c.seed == 0 and c.sigma_w == 1.0):
        cell = table[table["optimizer"] == config.optimizer]
        slopes = [
            np.polyfit(part["sigma_w"], part["val_accuracy"], 1)[0]
            for _, part in cell.groupby("epoch")
        ]
        np.testing.assert_allclose(slopes, truth.beta(config), atol=1e-12)


def test_large_reads_in_several_processes_give_the_same(
    clean: tuple[str, Written, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, _, loaded = clean
    monkeypatch.setattr(store_sqlite, "EPOCHS_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    started = []
    run_scan = store_sqlite._run_scan
    monkeypatch.setattr(
        store_sqlite, "_run_scan", lambda order: started.append(order.keys) or run_scan(order)
    )
    again = load("synthetic", uri, cache=False)
    assert sorted(key for keys in started for key in keys) == sorted(EPOCH_METRIC_NAMES)
    assert len(started) == 4
    pd.testing.assert_frame_equal(again.history, loaded.history)


def test_looking_up_few_runs_gives_the_same_as_passing_over_all(
    faulty: tuple[str, Written, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, _, loaded = faulty
    monkeypatch.setattr(store_sqlite, "COST_OF_LOOKING_UP", 0)
    pd.testing.assert_frame_equal(load("synthetic", uri, cache=False).history, loaded.history)


def test_another_experiment_in_the_store_changes_nothing(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    alone = write(uri, CONFIGS[:10], experiment="first")
    write(uri, CONFIGS, experiment="second", truth=Truth(seed=9))
    loaded = load("first", uri, cache=False)
    assert len(loaded.runs) == 10
    assert_same_history(loaded.history, expected_history(alone, loaded))


def test_without_a_name_it_is_the_experiment_in_which_the_suite_trained_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:5], experiment="one")
    write(uri, CONFIGS[5:9], experiment="two")
    client = MlflowClient(uri)
    client.create_run(client.create_experiment("not the suite's"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert load(cache=False).experiment == "two"
    write(uri, CONFIGS[5:7], experiment="one", truth=Truth(seed=2))
    assert load(cache=False).experiment == "one"


def test_a_store_is_read_while_a_run_is_being_written(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS)
    execute(uri, "PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE metrics SET value = 7")
        loaded = load("synthetic", uri, cache=False)
        writer.rollback()
    assert len(loaded.runs) == 30
    assert (loaded.history["val_accuracy"] < 1).all()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_in_a_folder_that_cannot_be_written_to_is_read(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS)
    execute(uri, "PRAGMA journal_mode=WAL")
    tmp_path.chmod(0o500)
    try:
        assert len(load("synthetic", uri, cache=False).runs) == 30
    finally:
        tmp_path.chmod(0o700)


def test_early_stopped_runs_have_as_many_rows_as_epochs(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    depth = reduced(EXPERIMENTS["depth"], epochs=80, seeds=1)
    configs = [c for c in depth.configs() if c.optimizer == "sgd" and c.batch_size == 128]
    written = write(uri, configs)
    loaded = load("synthetic", uri, cache=False)
    assert loaded.runs["epochs_trained"].nunique() > 1
    counts = loaded.history.groupby("run_id", observed=True).size()
    assert counts.tolist() == loaded.runs["epochs_trained"].tolist()
    assert_same_history(loaded.history, expected_history(written, loaded))
    assert loaded.problems.incomplete.empty


def test_it_runs_without_torch_and_reads_a_file_without_mlflow(
    clean: tuple[str, Written, Store],
) -> None:
    program = (
        "import sys; from analysis.store import load; "
        f"print(len(load('synthetic', {clean[0]!r}, cache=False).runs), "
        "'torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["30", "False", "False"]


# Problems


def test_a_clean_store_has_no_problems(clean: tuple[str, Written, Store]) -> None:
    problems = clean[2].problems
    assert not problems
    assert str(problems) == "no problems: one finished, complete run of each configuration"


def test_only_what_finished_is_in_the_frames(faulty: tuple[str, Written, Store]) -> None:
    _, written, loaded = faulty
    assert set(loaded.runs["fingerprint"]) == fingerprints(written.finished())
    assert len(loaded.runs) == 30 - FAULTS.missing - FAULTS.unfinished
    assert loaded.runs["fingerprint"].is_unique


def test_of_duplicates_the_newest_counts_alone_and_the_older_are_listed(
    faulty: tuple[str, Written, Store],
) -> None:
    _, written, loaded = faulty
    listed = loaded.problems.duplicates
    assert set(listed["fingerprint"]) == fingerprints(written.by_fault["duplicates"])
    assert set(listed["kept_run_id"]) <= set(loaded.runs["run_id"])
    assert not set(listed["run_id"]) & set(loaded.runs["run_id"])
    kept = loaded.runs.set_index("run_id").loc[listed["kept_run_id"], "start_time"]
    assert (kept.to_numpy() > listed["start_time"].to_numpy()).all()


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


def test_problems_read_well_in_a_terminal(faulty: tuple[str, Written, Store]) -> None:
    text = str(faulty[2].problems)
    assert bool(faulty[2].problems)
    assert "unfinished runs: 3\n" in text
    assert " (RUNNING at epoch 4)" in text
    assert "finished runs with holes in their history: 2\n" in text
    assert " (epochs 2, 4)" in text
    assert "set aside for a newer one of the same configuration: 2\n" in text
    assert max(map(len, text.splitlines())) <= 100


# The generator itself


def test_the_generator_writes_the_rows_that_the_suite_writes_through_mlflow(tmp_path: Path) -> None:
    from suite.tracking import DataDescription, Tracker

    for folder in ("suite", "generator"):
        (tmp_path / folder).mkdir()
    by_suite, by_generator = empty_store(tmp_path / "suite"), empty_store(tmp_path / "generator")
    written = write(by_generator, CONFIGS[:1], faults=Faults(diverged=1))
    start = rows(by_generator, "SELECT start_time FROM runs")[0][0]
    run = SyntheticRun(CONFIGS[0], written.truth, start, diverges=True)
    tracker = Tracker("synthetic", by_suite)
    sizes = {"train": 1150, "validation": 288, "test": 359}
    data = DataDescription("digits", "0", "digits", sizes, (1, 8, 8), list("0123456789"))
    run_id = tracker.create(CONFIGS[0], data, "cpu")
    tracker.log_epochs(run_id, run.history)
    end = rows(by_generator, "SELECT end_time FROM runs")[0][0]
    tracker.finish(run_id, run.summary, end, diverged=True)
    for table in ("metrics", "latest_metrics"):
        query = f"SELECT key, value, timestamp, step, is_nan FROM {table} ORDER BY 1, 4"
        assert rows(by_generator, query) == rows(by_suite, query)
    query = "SELECT key, value FROM params ORDER BY 1"
    assert rows(by_generator, query) == rows(by_suite, query)
    tags = dict(rows(by_suite, "SELECT key, value FROM tags"))
    assert set(rows(by_generator, "SELECT key, value FROM tags")) <= set(tags.items())


def test_the_generator_is_deterministic_and_obeys_the_suite_s_own_schedule(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    uris = [empty_store(tmp_path / folder) for folder in ("a", "b")]
    for uri in uris:
        write(uri, CONFIGS, faults=FAULTS)
    for table in ("runs", "metrics", "params", "tags"):
        query = (
            f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4"
            if table == "metrics"
            else (f"SELECT * FROM {table} ORDER BY run_uuid, 1")
        )
        assert rows(uris[0], query) == rows(uris[1], query)
    run = SyntheticRun(CONFIGS[0], Truth(), 0)
    rates = learning_rates(CONFIGS[0], 1150).reshape(6, -1)
    np.testing.assert_array_equal([r.learning_rate for r in run.history], rates[:, -1])


# Error lines


def error(experiment: str, uri: str) -> str:
    with pytest.raises(StoreError) as caught:
        load(experiment, uri, cache=False)
    line = str(caught.value)
    assert "\n" not in line
    assert line.split(":")[0] in ("experiment", "tracking_uri")
    assert ", got " in line
    assert "; " in line
    return line


def test_an_unknown_experiment_is_answered_with_the_closest_or_with_all(
    clean: tuple[str, Written, Store],
) -> None:
    assert error("sinthetic", clean[0]).endswith("got 'sinthetic'; did you mean synthetic?")
    assert error("qqq", clean[0]).endswith("got 'qqq'; there are Default, synthetic")


def test_a_store_without_runs_of_the_suite_says_so(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = empty_store(tmp_path)
    assert "holds no run of this suite" in error("", uri)
    client = MlflowClient(uri)
    client.create_run(client.create_experiment("other"))
    assert "holds no run of this suite" in error("", uri)
    assert "'other' holds no run of this suite" in error("other", uri)


def test_an_experiment_in_which_nothing_finished_says_so(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:3], faults=Faults(unfinished=3))
    assert "none of the 3 runs of 'synthetic' has finished" in error("", uri)


def test_an_experiment_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:1])
    execute(uri, "UPDATE tags SET value = '' WHERE key = 'config'")
    assert "no finished run of 'synthetic' can be read" in error("", uri)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    assert "no such store" in error("", f"sqlite:///{path}")
    assert not path.exists()
    assert "must name a file" in error("", "sqlite:///:memory:")


def test_files_that_are_no_store_say_so(tmp_path: Path) -> None:
    no_database = tmp_path / "text.db"
    no_database.write_text("this is no database" * 100)
    assert "file is not a database" in error("", f"sqlite:///{no_database}")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert "no such table: experiments" in error("", f"sqlite:///{other}")


def test_a_damaged_file_is_answered_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS)
    path = Path(uri.removeprefix("sqlite:///"))
    root = rows(uri, "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_auto%_metrics_1'")
    size = rows(uri, "PRAGMA page_size")[0][0]
    content = bytearray(path.read_bytes())
    for (page,) in root:
        content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)
    assert "malformed" in error("synthetic", uri)
    monkeypatch.setattr(store_sqlite, "EPOCHS_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert "malformed" in error("synthetic", uri)
