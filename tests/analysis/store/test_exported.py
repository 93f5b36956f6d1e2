"""Exported runs are what the store holds, and are refused where they are not."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from exports import assert_same_problems, export
from store_helpers import CONFIGS, FAULTS, execute

from analysis.store.exported_experiment import may_be_exchanged
from analysis.store.exported_files import METADATA, folder_name, write_export
from analysis.store.frames import StoreError, contents, load, open_store
from analysis.store.predictions import KeptPredictions
from analysis.store.thinning import Thinning
from benchmarks.synthetic_store import write
from suite.declarations.layers import LayerHistory
from suite.declarations.predictions import Predictions


@pytest.fixture
def exported(uri: str, tmp_path: Path) -> Path:
    """A folder with the export of a few runs."""
    write(uri, CONFIGS[:4], experiment="few")
    return export(uri, tmp_path / "out", "few")


# Equal to the store


def test_frames_and_problems_of_an_export_are_those_of_the_store(uri: str, tmp_path: Path) -> None:
    write(uri, CONFIGS, faults=FAULTS, experiment="demo")
    execute(
        uri,
        "UPDATE tags SET value = 'no table' WHERE key = 'config' AND run_uuid IN "
        "(SELECT run_uuid FROM runs WHERE status = 'FINISHED' LIMIT 1)",
    )
    execute(
        uri,
        "INSERT INTO tags (key, value, run_uuid) SELECT 'code_version', '18eab75', run_uuid FROM "
        "runs WHERE status = 'FINISHED' LIMIT 3",
    )
    expected = load("demo", uri, cache=False)
    found = load("demo", str(export(uri, tmp_path / "out", "demo")))
    assert (expected.runs["code_version"] == "18eab75").any()
    assert (expected.runs["code_version"] == "").any()
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.history, expected.history)
    pd.testing.assert_frame_equal(found.layers, expected.layers)
    assert_same_problems(found, expected)
    assert len(expected.problems.unreadable) == 1
    assert "thinned" not in found.origin


def test_norms_and_cosines_of_layers_are_written_byte_by_byte(uri: str, tmp_path: Path) -> None:
    write(uri, CONFIGS[:4], experiment="few")
    draw = np.random.default_rng(0)
    norms, cosines = draw.random((2, 4, 3, 2)).tolist()
    layers = [LayerHistory(("a", "b"), (0, 1, 2), *one) for one in zip(norms, cosines, strict=True)]
    write_export(tmp_path, replace(contents("few", uri, cache=False), layers=layers), None)
    columns = pq.ParquetFile(tmp_path / "runs.parquet").metadata.row_group(0)
    encodings = {
        columns.column(place).path_in_schema: columns.column(place).encodings
        for place in range(columns.num_columns)
    }
    for name in ("layer_norms", "layer_cosines"):
        assert "BYTE_STREAM_SPLIT" in encodings[f"{name}.list.element"]


def test_an_export_without_layers_is_otherwise_the_same_and_says_so(
    uri: str, tmp_path: Path
) -> None:
    write(uri, CONFIGS[:4], experiment="few")
    (place := tmp_path / "out" / "few").mkdir(parents=True)
    whole = contents("few", uri, cache=False)
    write_export(place, whole, None, layers=False)
    found, expected = load("few", str(tmp_path / "out")), load("few", uri, cache=False)
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.history, expected.history)
    assert len(expected.layers)
    assert found.layers.empty
    assert found.origin.endswith("; without layers")


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
