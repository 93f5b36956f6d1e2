"""What a project that was moved has lost sight of is named, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow_stores import new_store

from suite.state.workspace import CHECKPOINT_FILE, Workspace
from suite.tracking.moved import notices
from suite.tracking.runs import Tracker

KEY = "0123456789abcdef"


@pytest.fixture
def project(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, two experiments, and one run half trained in each."""
    folder = tmp_path / "project"
    new_store(empty_store, folder)
    monkeypatch.chdir(folder)
    for name in ("sweep", "other"):
        tracker = Tracker(name, f"sqlite:///{folder}/mlflow.db")
        half_trained(Workspace(folder / "state", tracker.place))
    return folder


def half_trained(place: Workspace) -> None:
    file = Path(place.folder) / KEY / CHECKPOINT_FILE
    file.parent.mkdir(parents=True)
    file.touch()


def told(folder: Path, experiment: str = "sweep", key: str = KEY) -> list[str]:
    tracker = Tracker(experiment, f"sqlite:///{folder}/mlflow.db")
    return notices(tracker, Workspace(folder / "state", tracker.place), [key])


def test_a_project_where_it_was_made_has_lost_sight_of_nothing(project: Path) -> None:
    assert told(project) == []
    assert told(project, "a third one") == []  # the same run in another experiment is another run


def test_a_project_that_was_moved_finds_its_state_and_is_told_where_mlflow_puts_files(
    project: Path,
) -> None:
    after = project.with_name("after")
    project.rename(after)
    (line,) = told(after)
    assert line.startswith("tracking_uri: MLflow keeps the files of this experiment in ")
    assert line.endswith(f"to have them with the store: ln -s {after} {project}")
    project.symlink_to(after)  # what the line says
    assert told(after) == []


def test_state_that_was_left_behind_is_named_with_where_it_lies_and_where_it_belongs(
    project: Path, empty_store: Path
) -> None:
    (project / "mlflow.db").rename(project / "old.db")
    store = new_store(empty_store, project)
    lines = told(project)
    assert len(lines) == 2  # of both experiments of the other store
    assert all(line.startswith("state_dir: 1 of the runs that start anew ") for line in lines)
    own = Workspace(project / "state", Tracker("sweep", store.uri).place).folder
    assert all(line.endswith(f"to {own}") and "\n" not in line for line in lines)
    assert told(project, key="f" * 16) == []


def test_a_stores_twin_in_the_same_folder_has_state_of_its_own(
    project: Path,
) -> None:
    (project / "copy.db").write_bytes((project / "mlflow.db").read_bytes())
    folders = {
        Workspace(project / "state", Tracker("sweep", f"sqlite:///{name}.db").place).folder
        for name in ("mlflow", "copy")
    }
    assert len(folders) == 2
