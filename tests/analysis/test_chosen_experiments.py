"""Which experiments of a store a command reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from store_helpers import CONFIGS, empty_store, write

from analysis import chosen_experiments
from analysis.chosen_experiments import choose, newest
from analysis.store import frames
from analysis.store.frames import StoreError
from analysis.store.server import ClientStore


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


@pytest.mark.parametrize("read", ["by SQL", "by MLflow's client"])
def test_a_deleted_experiment_is_said_to_be_deleted(
    uri: str, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(uri)
    client.delete_experiment(client.get_experiment_by_name("first").experiment_id)
    if read != "by SQL":
        monkeypatch.setattr(chosen_experiments, "open_store", ClientStore)
        monkeypatch.setattr(frames, "open_store", ClientStore)
    line = "experiment: must not be a deleted experiment, got 'first'"
    with pytest.raises(StoreError, match=line):
        choose("first", uri, newest)
    with pytest.raises(StoreError, match=line):
        frames.load("first", uri)


def test_a_store_without_runs_is_refused_where_runs_are_needed(tmp_path: Path) -> None:
    chosen = choose("", empty_store(tmp_path), newest)
    assert not chosen.stores
    with pytest.raises(StoreError, match="holds no run of this suite"):
        chosen.require_runs()


def test_the_environment_names_the_store(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert choose("first", "", newest).uri == uri


def test_a_group_stands_for_those_of_its_experiments_that_have_runs(uri: str) -> None:
    for name in ("mini-main", "mini-lr-l2", "my-sweep"):
        write(uri, CONFIGS[:2], experiment=name)
    MlflowClient(uri).create_experiment("mini-long")
    chosen = choose("mini", uri, newest)
    assert set(chosen.stores) == {"mini-main", "mini-lr-l2"}
    assert "'mini-long' holds no run" in str(*chosen.left_out)
    assert next(iter(choose("my-sweep,mini", uri, newest).stores)) == "my-sweep"


def test_a_pattern_stands_for_the_experiments_of_the_store_that_it_fits(uri: str) -> None:
    assert set(choose("*st", uri, newest).stores) == {"first", "last"}
    with pytest.raises(StoreError, match=r"stands for no experiment, and none is in .*'my-\*'"):
        choose("my-*", uri, newest)


def test_a_member_that_is_also_named_by_itself_has_to_be_there(uri: str) -> None:
    write(uri, CONFIGS[:2], experiment="mini-main")
    with pytest.raises(StoreError, match="'mini-long'"):
        choose("mini,mini-long", uri, newest)


def test_a_group_of_which_nothing_is_there_is_refused_with_what_is(uri: str) -> None:
    with pytest.raises(StoreError, match=r"stands for main, long, .* there are .*first") as caught:
        choose("paper", uri, newest)
    assert "\n" not in str(caught.value)
