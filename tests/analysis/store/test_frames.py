"""The frames against what was written."""

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
    error_line,
    execute,
    expected_history,
)

from analysis.store import sqlite as store_sqlite
from analysis.store.frames import Store, load
from benchmarks.synthetic_store import Written, reduced, write
from benchmarks.synthetic_truth import SyntheticRun, Truth
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES


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
    assert "its fingerprint is not that of the rest" in error_line("synthetic", uri)
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
        "import sys; from analysis.store.frames import load; "
        f"print(len(load('synthetic', {clean[0]!r}, cache=False).runs), "
        "'torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["30", "False", "False"]


def test_layers_are_those_that_were_measured_and_absent_where_none_was(
    clean: tuple[str, Written, Store],
) -> None:
    _, written, loaded = clean
    made = {config.fingerprint: SyntheticRun(config, written.truth, 0) for config in CONFIGS}
    expected = []
    for code, fingerprint in enumerate(loaded.runs["fingerprint"]):
        layers = made[fingerprint].layers
        if layers is None:
            continue
        for at, epoch in enumerate(layers.epochs):
            cells = zip(layers.layers, layers.norms[at], layers.cosines[at], strict=True)
            expected += [(code, epoch, n, d, *numbers) for d, (n, *numbers) in enumerate(cells)]
    codes = loaded.layers["run_id"].cat.codes
    found = loaded.layers.assign(run_id=codes, layer=loaded.layers["layer"].astype(str))
    assert list(found.itertuples(index=False, name=None)) == expected
    assert 0 < codes.nunique() < len(CONFIGS)


def test_a_run_whose_layers_cannot_be_read_is_reported(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:3])
    execute(uri, "UPDATE tags SET value = substr(value, 1, 40) WHERE key = 'layers.1'")
    first = "(SELECT min(run_uuid) FROM runs)"
    execute(uri, f"DELETE FROM tags WHERE key = 'layers.1' AND run_uuid = {first}")
    loaded = load("synthetic", uri, cache=False)
    assert len(loaded.runs) == 1
    assert loaded.problems.unreadable["reason"].str.contains("tags of layers").all()
