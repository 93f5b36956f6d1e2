"""Which experiments of a store a command reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_helpers import CONFIGS, empty_store, write

from analysis.chosen_experiments import choose, newest
from analysis.store.frames import StoreError


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    uri = empty_store(tmp_path)
    for name in ("first", "with, comma", "last"):
        write(uri, CONFIGS[:2], experiment=name)
    return uri


def test_names_stand_between_commas_each_once_and_in_their_order(uri: str) -> None:
    chosen = choose("last, first,last", uri, newest)
    assert list(chosen.stores) == ["last", "first"]
    assert chosen.runs == 4
    assert {"first", "last"} <= set(chosen.known)
    assert chosen.uri == uri


def test_a_name_may_hold_a_comma(uri: str) -> None:
    assert list(choose("with, comma", uri, newest).stores) == ["with, comma"]


def test_without_a_name_the_command_chooses_and_leaves_out_what_has_no_run(uri: str) -> None:
    assert list(choose("", uri, newest).stores) == ["last"]
    chosen = choose("", uri, lambda _: ["first", "nothing"])
    assert list(chosen.stores) == ["first"]
    (error,) = chosen.left_out
    assert str(error).startswith("experiment: is not in")
    chosen.require_runs()


def test_a_name_that_is_not_there_is_refused(uri: str) -> None:
    with pytest.raises(StoreError, match=r"experiment: is not in .*, got 'firs'"):
        choose("last,firs", uri, newest)


def test_a_store_without_runs_is_refused_where_runs_are_needed(tmp_path: Path) -> None:
    chosen = choose("", empty_store(tmp_path), newest)
    assert not chosen.stores
    with pytest.raises(StoreError, match="holds no run of this suite"):
        chosen.require_runs()


def test_the_environment_names_the_store(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert choose("first", "", newest).uri == uri
