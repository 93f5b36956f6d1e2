"""Stores and experiments that cannot be read, each answered in one line."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store_helpers import CONFIGS, empty_store, error_line, execute, rows

from analysis.store import sqlite as store_sqlite
from analysis.store.frames import Store
from benchmarks.synthetic_store import Faults, Written, write


def test_an_unknown_experiment_is_answered_with_the_closest_or_with_all(
    clean: tuple[str, Written, Store],
) -> None:
    assert error_line("sinthetic", clean[0]).endswith("got 'sinthetic'; did you mean synthetic?")
    assert error_line("qqq", clean[0]).endswith("got 'qqq'; there are Default, synthetic")


def test_a_store_without_runs_of_the_suite_says_so(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = empty_store(tmp_path)
    assert "holds no run of this suite" in error_line("", uri)
    client = MlflowClient(uri)
    client.create_run(client.create_experiment("other"))
    assert "holds no run of this suite" in error_line("", uri)
    assert "'other' holds no run of this suite" in error_line("other", uri)


def test_an_experiment_in_which_nothing_finished_says_so(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:3], faults=Faults(unfinished=3))
    assert "none of the 3 runs of 'synthetic' has finished" in error_line("", uri)


def test_an_experiment_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:1])
    execute(uri, "UPDATE tags SET value = '' WHERE key = 'config'")
    assert "no finished run of 'synthetic' can be read" in error_line("", uri)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    assert "no such store" in error_line("", f"sqlite:///{path}")
    assert not path.exists()
    assert "must name a file" in error_line("", "sqlite:///:memory:")


def test_files_that_are_no_store_say_so(tmp_path: Path) -> None:
    no_database = tmp_path / "text.db"
    no_database.write_text("this is no database" * 100)
    assert "file is not a database" in error_line("", f"sqlite:///{no_database}")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert "no such table: experiments" in error_line("", f"sqlite:///{other}")


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
    assert "malformed" in error_line("synthetic", uri)
    monkeypatch.setattr(store_sqlite, "EPOCHS_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert "malformed" in error_line("synthetic", uri)
