"""Predictions come back from a store, its cache and an export as they were kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store.artifacts import read_all
from analysis.store.prediction_table import packed, read_table, unpacked, write_table
from analysis.store.predictions import KeptPredictions
from suite.declarations.predictions import Predictions, encoded


def some(seed: int, images: int = 30, classes: int = 10) -> Predictions:
    rng = np.random.default_rng(seed)
    kind = np.uint8 if classes <= 256 else np.uint16
    labels = np.random.default_rng(classes).integers(classes, size=images).astype(kind)
    predicted = rng.integers(classes, size=images).astype(kind)
    return Predictions(labels, predicted, rng.random(images).astype(np.float16), classes)


def assert_same(ours: Mapping[str, Predictions], theirs: Mapping[str, Predictions]) -> None:
    assert list(ours) == list(theirs)
    for run, one in theirs.items():
        for name in ("labels", "predicted", "confidence"):
            np.testing.assert_array_equal(getattr(ours[run], name), getattr(one, name))
        assert ours[run].classes == one.classes


KEPT = {"a": some(1), "b": some(2), "c": some(3, images=11, classes=300)}


def test_a_table_gives_the_predictions_of_several_test_sets_again(tmp_path: Path) -> None:
    write_table(packed(KEPT), tmp_path / "file")
    assert_same(unpacked(read_table(tmp_path / "file")), KEPT)


def test_a_table_without_probabilities_says_that_they_are_unknown() -> None:
    found = unpacked(packed(KEPT, confidence=False))
    assert all(np.isnan(one.confidence).all() for one in found.values())
    assert all(np.array_equal(found[run].predicted, KEPT[run].predicted) for run in KEPT)


def test_labels_that_are_not_those_of_the_test_set_are_refused() -> None:
    table = packed({"a": some(1)})
    ((key, text),) = table.schema.metadata.items()
    changed = text.replace(b'"labels": "', b'"labels": "01', 1)
    with pytest.raises(ValueError, match="test_set: the labels of"):
        unpacked(table.replace_schema_metadata({key: changed}))


def artifacts(folder: Path, found: Mapping[str, Predictions]) -> dict[str, str]:
    """Files as MLflow keeps them; run id to address."""
    for run, one in found.items():
        (folder / run / "best").mkdir(parents=True)
        content = encoded(one, f"print of {run}")
        (folder / run / "best" / "predictions.parquet").write_bytes(content)
    return {run: (folder / run).as_uri() for run in found}


def test_files_that_are_gone_or_damaged_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = artifacts(tmp_path, KEPT)
    (tmp_path / "a" / "best" / "predictions.parquet").unlink()
    wanted = {"a": "print of a", "b": "print of another", "c": "print of c"}
    assert_same(read_all(folders, wanted, ""), {"c": KEPT["c"]})
    assert "predictions of 2 runs cannot be read (run a: " in caplog.text


class Asked:
    """A store that notes which runs it was asked for."""

    is_mlflow = True

    def __init__(self) -> None:
        self.runs: list[list[str]] = []

    def predictions(self, _: str, wanted: Mapping[str, str]) -> dict[str, Predictions]:
        self.runs.append(list(wanted))
        return {run: KEPT[run] for run in wanted}


def kept_by(store: Any, *runs: str) -> KeptPredictions:
    @contextmanager
    def reopen() -> Iterator[Any]:
        yield store

    return KeptPredictions(reopen, "address", "1", dict.fromkeys(runs, ""), cache=True)


def test_only_runs_that_are_new_are_read_from_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path))
    store = Asked()
    assert_same(kept_by(store, "a").by_run, {"a": KEPT["a"]})
    assert_same(kept_by(store, "a", "b", "c").by_run, KEPT)
    assert_same(kept_by(store, "a", "b").by_run, {run: KEPT[run] for run in "ab"})
    assert store.runs == [["a"], ["b", "c"]]


def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path))
    store = Asked()
    kept_by(store, "a").by_run  # noqa: B018
    (file,) = (tmp_path / "predictions").iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    assert_same(kept_by(store, "a").by_run, {"a": KEPT["a"]})
    assert "is damaged" in caplog.text
    assert store.runs == [["a"], ["a"]]
