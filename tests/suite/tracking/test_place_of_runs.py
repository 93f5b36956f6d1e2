"""In which experiment runs are, and where their files lie."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow_stores import Store, new_store
from tracked_runs import CONFIG, DATA, begin

from suite.basics.settings import ConfigError
from suite.state.place import default_state_dir
from suite.tracking.runs import Tracker


def test_runs_of_another_experiment_are_not_ours(tracker: Tracker, store: Store) -> None:
    other = Tracker("other", store.uri)
    run_id = other.create(CONFIG, DATA, "cpu")
    other.finish(run_id, {}, 1, diverged=False)
    assert other.experiment_name == "other"
    assert tracker.experiment_name == "Default"
    assert tracker.finished(CONFIG.fingerprint) is None
    assert Tracker("other", store.uri).finished(CONFIG.fingerprint) == run_id


def test_an_experiment_that_another_process_makes_at_the_same_moment_is_taken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Tracker("new", store.uri).experiment_id
    answers = [None]  # what a look at the store gave just before the other one made it
    found = MlflowClient.get_experiment_by_name
    monkeypatch.setattr(
        MlflowClient,
        "get_experiment_by_name",
        lambda client, name: answers.pop() if answers else found(client, name),
    )
    assert Tracker("new", store.uri).experiment_id == there
    assert answers == []


def test_a_name_that_mlflow_does_not_take_is_answered_in_one_line(store: Store) -> None:
    with pytest.raises(ConfigError, match="experiment: must be a name that MLflow") as refused:
        Tracker("x" * 1000, store.uri)
    assert len(str(refused.value)) < 300
    assert "\n" not in str(refused.value)


def test_a_child_names_its_parent(tracker: Tracker, store: Store) -> None:
    parent = begin(tracker)
    child = tracker.create(CONFIG.with_(seed=3), DATA, "cpu", parent)
    assert store.tags(child)["mlflow.parentRunId"] == parent


def test_the_environment_names_store_and_experiment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the environment")
    tracker = Tracker()
    assert tracker.uri == store.uri
    assert tracker.experiment_name == "from the environment"
    assert Tracker("by hand").experiment_name == "by hand"


def test_without_a_word_the_store_lies_in_the_working_directory(store: Store) -> None:
    assert mlflow.get_tracking_uri() in ("sqlite:///mlflow.db", store.uri)
    tracker = Tracker()
    run_id = begin(tracker)
    assert list(store.statuses()) == [run_id]


def test_checkpoints_lie_beside_a_sqlite_store_and_else_in_the_working_directory(
    store: Store, tmp_path: Path
) -> None:
    assert default_state_dir(store.uri) == tmp_path / "state"
    assert default_state_dir("sqlite:///mlflow.db") == tmp_path / "state"
    assert default_state_dir("http://localhost:5000") == tmp_path / "state"
    assert default_state_dir("sqlite:////elsewhere/mlflow.db") == Path("/elsewhere/state")


def test_files_of_runs_lie_beside_a_sqlite_store_wherever_the_command_runs(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own experiment moves only while it has no run: those are read where they are."""
    there, here = tmp_path / "there", tmp_path / "here"
    here.mkdir()
    (here / "a.txt").write_text("a")
    monkeypatch.chdir(here)
    store = new_store(empty_store, there)
    store.execute("UPDATE experiments SET artifact_location = ?", str(here / "mlruns" / "0"))
    default, named = Tracker("Default", store.uri), Tracker("named", store.uri)
    for tracker in (default, named):
        tracker.client.log_artifact(begin(tracker), str(here / "a.txt"))
    store.execute("UPDATE experiments SET artifact_location = ?", str(here / "mlruns" / "0"))
    later = begin(Tracker("Default", store.uri))
    found = MlflowClient(store.uri).get_run(later).info.artifact_uri
    copies = sorted(str(p.relative_to(tmp_path)).split("/")[:3] for p in tmp_path.rglob("a.txt"))
    assert copies == [["here", "a.txt"], ["there", "mlruns", "0"], ["there", "mlruns", "named"]]
    assert str(here) in str(found), "an experiment with runs stays where it is"


def test_a_deleted_experiment_is_refused_before_anything_is_made(store: Store) -> None:
    client = MlflowClient(store.uri)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ConfigError, match="experiment: must not be a deleted experiment, got 'gon"):
        Tracker("gone", store.uri)
    client.delete_experiment("0")
    with pytest.raises(ConfigError, match=r"experiment: must not be a deleted .*, got 'Default'"):
        Tracker("", store.uri)
