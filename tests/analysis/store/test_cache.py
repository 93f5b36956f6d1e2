"""The cache answers as the store does, reads only what is new, and never trusts what is stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store_helpers import (
    CONFIGS,
    assert_same,
    assert_same_history,
    cached_files,
    empty_store,
    execute,
    expected_history,
    rows,
)

from analysis.store.frames import load
from benchmarks.synthetic_store import Faults, write
from benchmarks.synthetic_truth import Truth


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
