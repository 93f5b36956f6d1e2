"""The cache answers as the store does, reads only what is new, and never trusts what is stale."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import (
    CONFIGS,
    assert_same_history,
    empty_store,
    execute,
    expected_history,
    rows,
)

from analysis.store.cache import METADATA
from analysis.store.frames import Store, load
from analysis.store.history import COLUMNS, HistoryTable, Slots, select
from analysis.store.sqlite import SqliteStore
from benchmarks.synthetic_store import Faults, write
from benchmarks.synthetic_truth import Truth
from suite.declarations.metrics import EPOCH_METRIC_NAMES


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    return empty_store(tmp_path)


@pytest.fixture
def read_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all runs whose histories were read from the store."""
    ids: list[str] = []
    read = SqliteStore.read

    def recording(self: SqliteStore, slots: Slots) -> None:
        ids.extend(slots.run_ids)
        read(self, slots)

    monkeypatch.setattr(SqliteStore, "read", recording)
    return ids


def cached_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.*"))


def assert_same(found: Store, expected: Store) -> None:
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.history, expected.history)
    for part in ("missing", "unfinished", "duplicates", "incomplete", "unreadable"):
        pd.testing.assert_frame_equal(
            getattr(found.problems, part), getattr(expected.problems, part)
        )


def test_the_second_load_reads_no_history_and_answers_the_same(
    uri: str, read_runs: list[str]
) -> None:
    write(uri, CONFIGS, faults=Faults(gaps=2, diverged=2, duplicates=2, unfinished=2, repeated=2))
    first = load("synthetic", uri)
    assert set(read_runs) == set(first.runs["run_id"])
    read_runs.clear()
    again = load("synthetic", uri)
    assert read_runs == []
    assert_same(again, first)
    assert_same(load("synthetic", uri, cache=False), first)


def test_only_new_runs_are_read(uri: str, read_runs: list[str]) -> None:
    write(uri, CONFIGS[5:])
    before = load("synthetic", uri)
    read_runs.clear()
    write(uri, CONFIGS[:5], truth=Truth(seed=4))
    now = load("synthetic", uri)
    assert set(read_runs) == set(now.runs["run_id"]) - set(before.runs["run_id"])
    assert len(read_runs) == 5
    assert_same(now, load("synthetic", uri, cache=False))
    read_runs.clear()
    load("synthetic", uri)
    assert read_runs == []


def test_a_deleted_run_is_gone_and_a_restored_one_is_back(uri: str, read_runs: list[str]) -> None:
    from mlflow import MlflowClient

    write(uri, CONFIGS)
    before = load("synthetic", uri)
    victim = before.runs["run_id"][3]
    MlflowClient(uri).delete_run(victim)
    read_runs.clear()
    now = load("synthetic", uri)
    assert read_runs == []
    assert victim not in set(now.runs["run_id"])
    assert len(now.history) == len(before.history) - 6
    assert_same(now, load("synthetic", uri, cache=False))
    MlflowClient(uri).restore_run(victim)
    assert_same(load("synthetic", uri), before)


def test_a_configuration_trained_again_replaces_the_older_run(
    uri: str, read_runs: list[str]
) -> None:
    written = write(uri, CONFIGS)
    before = load("synthetic", uri)
    read_runs.clear()
    write(uri, CONFIGS[:1], truth=Truth(seed=8, mean_sigma_w=written.truth.mean_sigma_w))
    now = load("synthetic", uri)
    replaced = set(before.runs["run_id"]) - set(now.runs["run_id"])
    assert len(replaced) == len(read_runs) == 1
    assert set(now.problems.duplicates["run_id"]) == replaced
    assert_same(now, load("synthetic", uri, cache=False))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET end_time = end_time + 1 WHERE run_uuid = ?",
        "UPDATE latest_metrics SET timestamp = timestamp + 1 WHERE run_uuid = ?",
    ],
)
def test_a_run_that_was_taken_up_again_is_read_again(
    uri: str, read_runs: list[str], change: str
) -> None:
    write(uri, CONFIGS)
    changed = load("synthetic", uri).runs["run_id"][2]
    execute(uri, "UPDATE metrics SET value = value / 2 WHERE run_uuid = ?", [changed])
    execute(uri, change, [changed])
    read_runs.clear()
    now = load("synthetic", uri)
    assert read_runs == [changed]
    assert_same(now, load("synthetic", uri, cache=False))


def test_a_run_that_finishes_comes_in(uri: str) -> None:
    from mlflow import MlflowClient

    write(uri, CONFIGS, faults=Faults(unfinished=1))
    before = load("synthetic", uri)
    (run_id,) = before.problems.unfinished["run_id"]
    assert run_id not in set(before.runs["run_id"])
    MlflowClient(uri).set_terminated(run_id, "FINISHED")
    now = load("synthetic", uri)
    assert now.problems.incomplete["epochs"].tolist() == ["5-6"]
    assert_same(now, load("synthetic", uri, cache=False))


def test_another_store_in_the_same_place_is_not_taken_for_the_first(
    uri: str, tmp_path: Path, read_runs: list[str]
) -> None:
    write(uri, CONFIGS[:10])
    load("synthetic", uri)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{uri.removeprefix('sqlite:///')}{suffix}").unlink(missing_ok=True)
    (tmp_path / "elsewhere").mkdir()
    other = empty_store(tmp_path / "elsewhere")
    written = write(other, CONFIGS[:10], truth=Truth(seed=77))
    Path(other.removeprefix("sqlite:///")).rename(uri.removeprefix("sqlite:///"))
    read_runs.clear()
    loaded = load("synthetic", uri)
    assert len(read_runs) == 10
    assert_same_history(loaded.history, expected_history(written, loaded))


def test_experiments_and_stores_have_caches_of_their_own(uri: str, tmp_path: Path) -> None:
    write(uri, CONFIGS[:3], experiment="a")
    write(uri, CONFIGS[:3], experiment="b")
    load("a", uri)
    load("b", uri)
    assert len(cached_files(tmp_path)) == 2


def test_a_relative_address_names_the_same_cache(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_runs: list[str]
) -> None:
    write(uri, CONFIGS[:3])
    load("synthetic", uri)
    read_runs.clear()
    monkeypatch.chdir(tmp_path)
    load("synthetic", "sqlite:///mlflow.db")
    assert read_runs == []
    assert len(cached_files(tmp_path)) == 1


def test_without_a_cache_nothing_is_written_and_nothing_is_believed(
    uri: str, tmp_path: Path, read_runs: list[str]
) -> None:
    write(uri, CONFIGS[:3])
    load("synthetic", uri, cache=False)
    assert cached_files(tmp_path) == []
    load("synthetic", uri)
    read_runs.clear()
    load("synthetic", uri, cache=False)
    assert len(read_runs) == 3


def damage_head(content: bytes) -> bytes:
    return b"?" * 100 + content[100:]


def damage_tail(content: bytes) -> bytes:
    return content[:-1000]


def damage_all(content: bytes) -> bytes:
    return b""


def damage_metadata(content: bytes) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    table = table.replace_schema_metadata({METADATA: "[" * 100_000})
    changed = io.BytesIO()
    pq.write_table(table, changed)
    return changed.getvalue()


def damage_a_page(content: bytes) -> bytes:
    middle = len(content) // 4
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [damage_head, damage_tail, damage_all, damage_metadata, damage_a_page]
)
def test_a_damaged_cache_is_made_anew_with_a_notice(
    uri: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: object,
) -> None:
    assert callable(damage)
    write(uri, CONFIGS)
    first = load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert_same(load("synthetic", uri), first)
    assert "is made anew from the store" in caplog.text
    assert str(file) in caplog.text
    caplog.clear()
    assert_same(load("synthetic", uri), first)
    assert caplog.text == ""


def test_a_cache_whose_parts_do_not_fit_is_made_anew(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import pyarrow.parquet as pq

    write(uri, CONFIGS)
    first = load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    pq.write_table(pq.read_table(file).slice(0, 50), file)
    assert_same(load("synthetic", uri), first)
    assert "its parts do not fit each other" in caplog.text


def test_a_cache_of_another_version_is_not_used(
    uri: str, read_runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.store import cache as store_cache

    write(uri, CONFIGS)
    with monkeypatch.context() as other_version:
        other_version.setattr(store_cache, "FORMAT", store_cache.FORMAT + 1)
        load("synthetic", uri)
    read_runs.clear()
    load("synthetic", uri)
    assert len(read_runs) == 30


def test_a_cache_that_cannot_be_written_is_a_notice_only(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(uri, CONFIGS[:3])
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "file"))
    assert len(load("synthetic", uri).runs) == 3
    assert "cannot be written" in caplog.text


def test_a_write_that_breaks_off_leaves_the_older_cache_in_place(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    write(uri, CONFIGS[:10])
    load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    before = file.read_bytes()
    write(uri, CONFIGS[10:12])

    def half(table: object, name: str, **_: object) -> None:
        Path(name).write_bytes(b"PAR1 and no more")
        raise OSError("No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    assert len(load("synthetic", uri).runs) == 12
    assert cached_files(tmp_path) == [file]
    assert file.read_bytes() == before


def test_a_store_that_has_not_changed_leaves_the_cache_alone(uri: str, tmp_path: Path) -> None:
    write(uri, CONFIGS[:3])
    load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    os.utime(file, (0, 0))
    load("synthetic", uri)
    assert file.stat().st_mtime == 0
    write(uri, CONFIGS[3:4])
    load("synthetic", uri)
    assert file.stat().st_mtime > 0


def test_the_store_is_left_as_it_is(uri: str) -> None:
    write(uri, CONFIGS[:3])
    path = Path(uri.removeprefix("sqlite:///"))
    before = path.read_bytes()
    load("synthetic", uri)
    assert path.read_bytes() == before
    assert rows(uri, "SELECT count(*) FROM runs") == [(3,)]


# The table, against plain dictionaries

lengths_of_runs = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(lengths_of_runs, st.data())
def test_slots_hold_what_was_put_last_and_tell_what_is_missing(
    lengths: list[int], data: st.DataObject
) -> None:
    names = [f"run{i}" for i in range(len(lengths))]
    slots = Slots(names, lengths)
    expected: dict[tuple[int, int, str], float] = {}
    for name in EPOCH_METRIC_NAMES:
        places = [(run, epoch) for run, n in enumerate(lengths) for epoch in range(1, n + 1)]
        put = data.draw(st.lists(st.sampled_from(places), max_size=12)) if places else []
        values = np.arange(1.0, len(put) + 1)
        slots.put(name, np.array([slots.first[r] + e - 1 for r, e in put], dtype=np.int64), values)
        expected |= {(r, e, name): v for (r, e), v in zip(put, values, strict=True)}
    table = slots.table([(0, 0, 0)] * len(lengths))
    at = 0
    for run, length in enumerate(lengths):
        lacking = []
        for epoch in range(1, length + 1):
            there = [name for name in EPOCH_METRIC_NAMES if (run, epoch, name) in expected]
            if len(there) < len(EPOCH_METRIC_NAMES):
                lacking.append(epoch)
            if there:
                assert table.columns["epoch"][at] == epoch
                for name in EPOCH_METRIC_NAMES:
                    want = expected.get((run, epoch, name), np.nan)
                    np.testing.assert_equal(table.columns[name][at], want)
                at += 1
        assert list(table.missing[run]) == lacking
    assert at == table.counts.sum() == len(table.columns["epoch"])


def made_up_table(names: list[str], counts: list[int], offset: float) -> HistoryTable:
    size = sum(counts)
    columns = {name: offset + np.arange(size, dtype=np.float64) for name in COLUMNS}
    stamps = [(len(name), 0, 0) for name in names]
    return HistoryTable(names, stamps, [[] for _ in names], np.array(counts), columns)


@given(lengths_of_runs, lengths_of_runs, st.data())
def test_select_concatenates_the_rows_of_the_runs_asked_for(
    first: list[int], second: list[int], data: st.DataObject
) -> None:
    a = made_up_table([f"a{i}" for i in range(len(first))], first, 0.0)
    b = made_up_table([f"b{i}" for i in range(len(second))], second, 1000.0)
    names = data.draw(st.lists(st.sampled_from([*a.run_ids, *b.run_ids]), unique=True))
    expected = []
    for name in names:
        table = a if name in a.run_ids else b
        run = list(table.run_ids).index(name)
        start = sum(table.counts[:run])
        expected += table.columns["epoch"][start : start + table.counts[run]].tolist()
    found = select([a, b], names)
    assert found.columns["val_loss"].tolist() == expected
    assert list(found.run_ids) == names
