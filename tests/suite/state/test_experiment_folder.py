"""Which folder is an experiment's: moved, renamed, spelled otherwise, or of an earlier version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from kept_run import CONFIG, KEY, finished_run

from suite.declarations.config import RunConfig
from suite.engine.checkpoint import RunState
from suite.state.workspace import Workspace

pytestmark = pytest.mark.usefixtures("beside_its_store")


def saved(place: Workspace, config: RunConfig = CONFIG) -> None:
    place.save(RunState(config, {"parameters": {"w": torch.ones(1)}}, finished_run().history, 1.0))


def test_one_file_has_one_folder_and_one_set_of_leases_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [
        f"sqlite:///{tmp_path}/mlflow.db",
        f"sqlite:///{tmp_path}/mlflow.db?timeout=60",
        f"sqlite+pysqlite:///{tmp_path}/link/./mlflow.db",
        "sqlite:///mlflow.db",
        "sqlite:///~/mlflow.db",
    ]
    workspaces = [Workspace(tmp_path / "state", (one, "1")) for one in spellings]
    assert len({place.folder for place in workspaces}) == 1
    held = [place.take_lease(KEY) for place in workspaces]
    assert held[0] is not None
    assert held[1:] == [None] * 4


def test_a_project_that_is_moved_as_a_whole_keeps_its_state(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    saved(Workspace(before / "state", (f"sqlite:///{before}/mlflow.db", "1", "created 5")))
    before.rename(after)
    found = Workspace(after / "state", (f"sqlite:///{after}/mlflow.db", "1", "created 5"))
    assert found.load(KEY) is not None


def test_a_new_store_in_the_place_of_another_has_nothing_of_its_state(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    saved(Workspace(tmp_path / "state", (store, "1", "created 5")))
    assert Workspace(tmp_path / "state", (store, "1", "created 6")).load(KEY) is None


@pytest.mark.parametrize("name", ["demo", "renamed-since"])
@pytest.mark.parametrize(
    "store", [("sqlite:///{}/mlflow.db", "1", "created 5"), ("created 5", "1")]
)
def test_the_folder_of_an_earlier_version_stays_in_use(
    tmp_path: Path, store: tuple[str, ...], name: str
) -> None:
    store = (store[0].format(tmp_path), *store[1:])
    key = hashlib.sha256("|".join(store[:2]).encode()).hexdigest()[:8]
    (tmp_path / "state" / f"{name}-{key}").mkdir(parents=True)
    (tmp_path / "state" / "demo-01234567").mkdir()
    assert Workspace(tmp_path / "state", store).folder.name == f"{name}-{key}"


def test_runs_that_another_folder_holds_are_found_there_and_ours_are_not(tmp_path: Path) -> None:
    stores = [(f"sqlite:///{tmp_path}/{name}.db", "1") for name in ("old", "new")]
    old, new = (Workspace(tmp_path / "state", store) for store in stores)
    (tmp_path / "state" / "log" / KEY).mkdir(parents=True)
    assert new.elsewhere([KEY]) == {}
    saved(old)
    saved(old, CONFIG.with_(seed=8))
    assert new.elsewhere([KEY]) == {old.folder: 1}
    assert new.elsewhere(["0" * 16]) == {}
    assert old.elsewhere([KEY]) == {}
    saved(new)
    assert new.elsewhere([KEY]) == {}
