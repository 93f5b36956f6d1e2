"""Stores that are not a file: MLflow's client, a real MLflow server and a real PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow_server import MlflowServer
from servers import free_port
from store_helpers import CONFIGS, FAULTS, empty_store

from analysis.store import bulk as store_bulk
from analysis.store import frames as store
from analysis.store.bulk import batches
from analysis.store.frames import Store, StoreError, load
from analysis.store.history import Slots
from benchmarks.synthetic_store import write
from benchmarks.synthetic_truth import Truth
from suite.basics import mlflow_client


@pytest.fixture
def file_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    uri = empty_store(tmp_path)
    write(uri, CONFIGS, faults=FAULTS)
    return uri


def assert_same(found: Store, expected: Store) -> None:
    """The same runs, histories and problems; run ids too, as both are made from one seed."""
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.history, expected.history)
    pd.testing.assert_frame_equal(found.layers, expected.layers)
    assert len(expected.layers)
    for part in ("missing", "unfinished", "duplicates", "incomplete", "unreadable"):
        frames = [getattr(s.problems, part) for s in (found, expected)]
        ordered = [f.sort_values(list(f.columns[:1]), ignore_index=True) for f in frames]
        pd.testing.assert_frame_equal(*ordered)


def test_the_client_s_way_gives_the_same_as_sql(
    file_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's client also reads files, so its way is tested without a server's slow start."""
    from analysis.store.server import ClientStore

    expected = load("synthetic", file_uri, cache=False)
    monkeypatch.setattr(store, "open_store", ClientStore)
    assert_same(load("synthetic", file_uri, cache=False), expected)
    assert_same(load("", file_uri), expected)
    monkeypatch.setattr(ClientStore, "read", forbidden)
    assert_same(load("", file_uri), expected)


def forbidden(_: object, slots: Slots) -> None:
    raise AssertionError(f"read {slots.run_ids} although the cache has them")


def test_the_client_s_way_reads_all_pages(file_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.store.server import ClientStore

    expected = load("synthetic", file_uri, cache=False)
    monkeypatch.setattr(mlflow_client, "PAGE", 7)
    monkeypatch.setattr(store, "open_store", ClientStore)
    assert_same(load("synthetic", file_uri, cache=False), expected)


@given(st.lists(st.integers(0, 30_000), max_size=300))
def test_bulk_requests_ask_for_every_run_once_and_for_no_more_than_a_server_gives(
    lengths: list[int],
) -> None:
    found = list(batches(lengths))
    assert [run for batch in found for run in batch] == list(range(len(lengths)))
    for batch in found:
        assert len(batch) <= 100
        assert len(batch) == 1 or sum(lengths[run] for run in batch) <= 20_000


def test_a_server_that_does_not_answer_is_told_without_mlflow_s_minutes_of_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from analysis.store import server as store_rest

    monkeypatch.setattr(store_rest, "MlflowClient", forbidden)
    line = r"no server answers, got http://me:\*\*\*@127\.0\.0\.1:"
    with pytest.raises(StoreError, match=line) as caught:
        load("synthetic", f"http://me:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed")
    with pytest.raises(StoreError, match="must be an MLflow store, got postgresql://me") as caught:
        load("synthetic", f"postgresql://me:secret@127.0.0.1:{free_port()}/mlflow")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_postgresql_driver_the_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'psycopg\[binary\]'"):
        load("synthetic", "postgresql://me@127.0.0.1/mlflow")


@pytest.mark.slow
def test_a_real_mlflow_server_gives_the_same_as_its_file(
    file_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load("synthetic", file_uri, cache=False)
    with MlflowServer(tmp_path, file_uri) as server:
        url = server.uri
        assert_same(load("synthetic", url), expected)
        assert_same(load("", url), expected)
        for at_most in (1, 10**9):  # no answer counts as complete; all do
            monkeypatch.setattr(store_bulk, "ROWS_AT_MOST", at_most)
            assert_same(load("synthetic", url, cache=False), expected)
        monkeypatch.undo()
        monkeypatch.setattr(store_bulk, "ENDPOINT", "/ajax-api/2.0/mlflow/not-offered")
        assert_same(load("synthetic", url, cache=False), expected)
        monkeypatch.undo()
        monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
        write(file_uri, CONFIGS[:2], truth=Truth(seed=5))
        now = load("synthetic", url)
        assert_same(now, load("synthetic", file_uri, cache=False))
        assert len(now.problems.duplicates) > len(expected.problems.duplicates)
        with pytest.raises(StoreError, match="did you mean synthetic"):
            load("syntetic", url)


@pytest.mark.slow
def test_a_real_postgresql_gives_the_same_as_a_file(
    postgresql: str, file_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.store.postgresql import PostgresqlStore

    expected = load("synthetic", file_uri, cache=False)
    uri = postgresql.replace("postgresql:", "postgresql+psycopg:")
    write(uri, CONFIGS, faults=FAULTS)
    assert_same(load("synthetic", postgresql), expected)
    assert_same(load("", postgresql, cache=False), expected)
    for address in (uri, file_uri):
        write(address, CONFIGS[:2], experiment="second", truth=Truth(seed=5))
    assert load("", postgresql).experiment == "second"
    assert_same(load("second", postgresql), load("second", file_uri))
    monkeypatch.setattr(PostgresqlStore, "read", forbidden)
    assert_same(load("synthetic", postgresql), expected)
    with pytest.raises(StoreError, match="did you mean synthetic"):
        load("syntetic", postgresql)
