"""Exported runs are what the store holds, thinned or not, and are refused where they are not."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from store_helpers import CONFIGS, FAULTS, execute

from analysis.claims.command import judge
from analysis.estimates.forgetting_time import forgetting_times
from analysis.estimates.overview import Estimates, estimate
from analysis.estimates.scale_table import by_scale
from analysis.export import main
from analysis.store.exported import may_be_exchanged
from analysis.store.exported_files import METADATA, folder_name, write_export
from analysis.store.frames import Store, StoreError, contents, load, open_store
from analysis.store.predictions import KeptPredictions
from analysis.store.thinning import EXACT, WHOLE, Thinning, kept_rows, log_spaced
from benchmarks.synthetic_store import reduced, write
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.metrics import EPOCH_METRIC_NAMES
from suite.declarations.predictions import Predictions

LONG = reduced(EXPERIMENTS["demo"], seeds=2)


@pytest.fixture
def exported(uri: str, tmp_path: Path) -> Path:
    """A folder with the export of a few runs."""
    write(uri, CONFIGS[:4], experiment="few")
    return export(uri, tmp_path / "out", "few")


def export(uri: str, out: Path, experiment: str, *more: str) -> Path:
    words = ["--tracking-uri", uri, "--out", str(out), "--experiment", experiment]
    assert main([*words, *more]) == 0
    return out


def assert_same_problems(found: Store, expected: Store) -> None:
    for part in ("missing", "unfinished", "duplicates", "incomplete", "unreadable"):
        frames = [getattr(s.problems, part) for s in (found, expected)]
        ordered = [f.sort_values(list(f.columns[:1]), ignore_index=True) for f in frames]
        pd.testing.assert_frame_equal(*ordered)
    counts = [(s.problems.points, s.problems.other_runs) for s in (found, expected)]
    assert counts[0] == counts[1]


# Equal to the store


def test_frames_and_problems_of_an_export_are_those_of_the_store(uri: str, tmp_path: Path) -> None:
    write(uri, CONFIGS, faults=FAULTS, experiment="demo")
    execute(
        uri,
        "UPDATE tags SET value = 'no table' WHERE key = 'config' AND run_uuid IN "
        "(SELECT run_uuid FROM runs WHERE status = 'FINISHED' LIMIT 1)",
    )
    expected = load("demo", uri, cache=False)
    found = load("demo", str(export(uri, tmp_path / "out", "demo")))
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.history, expected.history)
    pd.testing.assert_frame_equal(found.layers, expected.layers)
    assert_same_problems(found, expected)
    assert len(expected.problems.unreadable) == 1
    assert "thinned" not in found.origin


@pytest.mark.parametrize("thinning", [None, Thinning()])
def test_an_export_carries_predictions_and_a_thinned_one_without_probabilities(
    uri: str, tmp_path: Path, thinning: Thinning | None
) -> None:
    write(uri, CONFIGS[:4], experiment="demo")
    found = contents("demo", uri, cache=False)
    frame = found.frame.assign(test_ece=[0.1, 0.2, 0.3, np.nan])
    labels = np.array([0, 1, 2], dtype=np.uint8)
    sure = np.full(3, 0.75, dtype=np.float16)
    made = {run: Predictions(labels, labels[::-1], sure, 3) for run in frame["run_id"][:3]}
    kept = KeptPredictions(nullcontext, "", "", {}, cache=False)
    kept.__dict__["by_run"] = made
    place = tmp_path / "out" / "demo"
    place.mkdir(parents=True)
    write_export(place, replace(found, frame=frame, predictions=kept), thinning)
    again = load("demo", str(tmp_path / "out")).predictions.by_run
    assert list(again) == list(made)
    for run, one in again.items():
        np.testing.assert_array_equal(one.predicted, made[run].predicted)
        np.testing.assert_array_equal(one.labels, labels)
        expected = sure if thinning is None else np.full(3, np.nan)
        np.testing.assert_array_equal(one.confidence, expected)
    assert may_be_exchanged(place)
    file = place / "predictions.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"is damaged, got .*predictions\.parquet"):
        load("demo", str(tmp_path / "out"))


def test_thinning_keeps_runs_problems_and_validation_accuracy_and_says_so(
    uri: str, tmp_path: Path
) -> None:
    write(uri, LONG.configs(), faults=FAULTS, experiment="demo")
    expected = load("demo", uri, cache=False)
    found = load("demo", str(export(uri, tmp_path / "out", "demo", "--thin")))
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.layers, expected.layers)
    assert_same_problems(found, expected)
    same = ["run_id", "epoch", *WHOLE]
    pd.testing.assert_frame_equal(found.history[same], expected.history[same])
    assert found.origin.endswith(str(Thinning()))


def test_what_thinning_keeps_is_exact_or_in_single_precision(uri: str, tmp_path: Path) -> None:
    write(uri, LONG.configs(), experiment="demo")
    expected = load("demo", uri, cache=False).history
    found = load("demo", str(export(uri, tmp_path / "out", "demo", "--thin"))).history
    for name in EPOCH_METRIC_NAMES:
        kept = found[name].notna().to_numpy()
        values = expected[name].to_numpy()
        single = values.astype(np.float32).astype(np.float64)
        np.testing.assert_array_equal(
            found[name].to_numpy()[kept], (values if name in EXACT else single)[kept], name
        )
    assert found["val_loss"].notna().mean() < 0.9


def test_every_run_keeps_its_best_its_interpolating_its_first_and_its_last_epoch(
    uri: str, tmp_path: Path
) -> None:
    write(uri, LONG.configs(), experiment="demo")
    store = load("demo", str(export(uri, tmp_path / "out", "demo", "--thin")))
    there = store.history[store.history["train_loss"].notna()]
    kept = there.groupby("run_id", observed=True)["epoch"].agg(set)
    for row in store.runs.to_dict("records"):
        wanted = {1, row["epochs_trained"], row["best_epoch"], row["interpolation_epoch"]}
        assert {epoch for epoch in wanted if not np.isnan(epoch)} <= kept[row["run_id"]]


def same_estimates(found: Estimates, expected: Estimates) -> None:
    for name in ("recipes", "scales", "boundaries", "betas", "collapses"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name))


def test_every_estimate_of_a_thinned_export_is_that_of_the_store(uri: str, tmp_path: Path) -> None:
    axes = {"optimizer": ("sgd", "adam"), "batch_size": (16, 64), "sigma_w": (0.1, 1.0, 2.5)}
    settings = {"dataset": "digits", "epochs": 120, "learning_rate": 1e-2}
    configs = [
        CONFIGS[0].with_(**settings, optimizer=o, batch_size=b, sigma_w=s, seed=seed)
        for o in axes["optimizer"]
        for b in axes["batch_size"]
        for s in axes["sigma_w"]
        for seed in (0, 1, 42)
    ]
    write(uri, configs, experiment="long enough")
    expected = load("long enough", uri, cache=False)
    found = load("long enough", str(export(uri, tmp_path / "out", "long enough", "--thin")))
    same_estimates(*(estimate(store, resamples=50) for store in (found, expected)))
    for make in (by_scale, forgetting_times):
        frames = [make(store.runs, store.history) for store in (found, expected)]
        pd.testing.assert_frame_equal(*frames)


def test_every_verdict_on_the_paper_is_the_same_from_a_thinned_export(
    uri: str, tmp_path: Path
) -> None:
    sweep = EXPERIMENTS["lr-l2"]
    points = [
        {"learning_rate": 1e-2, "kernel_l2": 0.0, "batch_size": 16, "sigma_w": scale, "seed": seed}
        for scale in sweep.axes["sigma_w"]
        for seed in sweep.axes["seed"][:5]
    ]
    write(uri, [sweep.config(point) for point in points], experiment="lr-l2")
    expected = judge({"lr-l2": load("lr-l2", uri, cache=False)})
    found = judge({"lr-l2": load("lr-l2", str(export(uri, tmp_path / "out", "lr-l2", "--thin")))})
    pd.testing.assert_frame_equal(found, expected)
    assert (expected["n"] == 5).any()


def test_log_spaced_epochs_hold_both_ends_and_are_no_more_than_asked() -> None:
    for last in (1, 2, 25, 200, 5000):
        epochs = log_spaced(last, 40)
        assert (epochs[0], epochs[-1]) == (1, last)
        assert len(epochs) <= 40
    assert log_spaced(10, 40).tolist() == list(range(1, 11))


def test_a_run_without_epochs_keeps_none(uri: str) -> None:
    from analysis.store.history import Slots

    slots = Slots(["a", "b"], [0, 3])
    for name in EPOCH_METRIC_NAMES:
        slots.put(name, np.arange(3), np.ones(3))
    runs = pd.DataFrame({"best_epoch": [np.nan, 2.0], "interpolation_epoch": [np.nan, np.nan]})
    table = slots.table([(0, 0, 0)] * 2)
    assert kept_rows(table, runs, Thinning(points=2)).tolist() == [True, True, True]


# A folder of experiments


def test_a_folder_holds_several_experiments_and_knows_the_newest(uri: str, tmp_path: Path) -> None:
    for name in ("first", "with, comma", "../last"):
        write(uri, CONFIGS[:2], experiment=name)
    out = export(uri, tmp_path / "out", "first")
    for name in ("with, comma", "../last"):
        export(uri, out, name)
    assert sorted(path.name for path in out.iterdir()) == ["%2E.%2Flast", "first", "with%2C comma"]
    backend = open_store(str(out))
    assert set(backend.experiments()) == {"first", "with, comma", "../last"}
    assert load("", out.as_uri()).experiment == "../last"
    assert load("", str(out / "first")).experiment == "first"


def test_the_files_say_where_the_runs_come_from(exported: Path, uri: str) -> None:
    for file in ("runs.parquet", "history.parquet"):
        about = json.loads(pq.read_schema(exported / "few" / file).metadata[METADATA])
        assert about["schema"] == 1
        assert about["store"] == uri.rsplit("/", 1)[-1]
        assert about["experiment"] == "few"
        assert about["runs"] == 4
        assert about["package"].startswith("initialization-memory ")
        assert about["thinning"] is None
    runs = pd.read_parquet(exported / "few" / "runs.parquet")
    assert runs["sigma_w"].tolist() == sorted(runs["sigma_w"])
    assert runs["test_accuracy"].notna().all()


def test_nothing_of_an_export_goes_into_the_cache(exported: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    load("few", str(exported))
    assert not (tmp_path / "cache").exists()


# Refused in one line


def rewritten(path: Path, **changes: object) -> None:
    """The file with other metadata."""
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[METADATA]) | changes
    pq.write_table(table.replace_schema_metadata({METADATA: json.dumps(about)}), path)


def test_metadata_nested_deeply_are_refused_in_one_line(exported: Path) -> None:
    path = exported / "few" / "runs.parquet"
    table = pq.read_table(path).replace_schema_metadata({METADATA: "[" * 100_000})
    pq.write_table(table, path)
    assert "its metadata: it is nested more deeply" in refusal(exported)


def refusal(folder: Path, experiment: str = "") -> str:
    with pytest.raises(StoreError) as caught:
        load(experiment, str(folder))
    (line,) = str(caught.value).splitlines()
    return line


def test_a_missing_file_and_a_damaged_one_are_refused(exported: Path) -> None:
    history = exported / "few" / "history.parquet"
    whole = history.read_bytes()
    middle = len(whole) // 3
    history.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    assert f"is damaged, got {history}" in refusal(exported)
    history.write_bytes(whole[:100])
    assert f"is damaged, got {history}" in refusal(exported)
    history.unlink()
    assert "history.parquet must lie beside runs.parquet" in refusal(exported)


def test_files_of_two_exports_are_not_mixed(exported: Path, uri: str, tmp_path: Path) -> None:
    other = export(uri, tmp_path / "other", "few")
    shutil.copy(other / "few" / "history.parquet", exported / "few" / "history.parquet")
    assert "it is not of the same export as runs.parquet" in refusal(exported)


@pytest.mark.parametrize("schema", [0, 2])
def test_another_schema_is_refused(exported: Path, schema: int) -> None:
    rewritten(exported / "few" / "runs.parquet", schema=schema)
    assert f"the schema of exported runs must be 1, got {schema} in " in refusal(exported)


def test_metadata_that_lack_something_or_name_an_unknown_setting_are_refused(
    exported: Path,
) -> None:
    rewritten(exported / "few" / "runs.parquet", settings=["sigma_w", "warp"])
    assert "has the unknown setting warp" in refusal(exported)
    rewritten(exported / "few" / "runs.parquet", schema="one")
    assert "its metadata: " in refusal(exported)
    table = pq.read_table(exported / "few" / "runs.parquet")
    bare = table.replace_schema_metadata({METADATA: json.dumps({"schema": 1})})
    pq.write_table(bare, exported / "few" / "runs.parquet")
    assert "its metadata lack experiment" in refusal(exported)


def test_parquet_files_that_are_no_export_are_refused(tmp_path: Path) -> None:
    for name in ("runs.parquet", "history.parquet"):
        pd.DataFrame({"a": [1]}).to_parquet(tmp_path / name)
    assert "must be runs that were exported by python -m analysis.export" in refusal(tmp_path)


def test_an_unknown_experiment_and_folders_without_exports_are_refused(
    exported: Path, tmp_path: Path
) -> None:
    assert "did you mean few?" in refusal(exported, "fewer")
    assert "no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    assert "holds no exported runs" in refusal(tmp_path / "bare")
    shutil.copytree(exported / "few", exported / "again")
    assert "an experiment is there twice" in refusal(exported)


def test_folder_names_tell_all_experiments_apart() -> None:
    names = ["a b", "a-b", "a/b", "a%2Fb", ".", "..", "%2E", "σ"]
    found = {folder_name(name) for name in names}
    assert len(found) == len(names)
    assert not any("/" in name or name.startswith(".") for name in found)


def test_the_record_of_thinning_comes_back_as_it_was() -> None:
    again = Thinning(**json.loads(json.dumps(asdict(Thinning()))))
    assert str(again) == str(Thinning())
