"""Where the state of runs may be, and where it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.basics.settings import ConfigError
from suite.basics.state_dir import OBJECT_STORES, locate, log_folder
from suite.declarations.machine import Machine


def test_a_folder_is_absolute_and_an_address_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert locate("kept", "") == tmp_path / "kept"
    assert locate("~/kept", "") == Path("/home/me/kept")
    assert locate("file:///mnt/a%20b/kept", "") == Path("/mnt/a b/kept")
    assert locate("s3://bucket/kept/", "") == "s3://bucket/kept"
    assert locate("", "sqlite:////x/mlflow.db") == Path("/x/state")
    assert locate("", "postgresql://h/mlflow") == tmp_path / "state"


def test_logs_stay_on_their_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert log_folder(Path("/mnt/kept"), "http://h") == Path("/mnt/kept/log")
    assert log_folder("s3://bucket/kept", "http://h") == tmp_path / "state" / "log"
    assert log_folder("s3://bucket/kept", "sqlite:////x/mlflow.db") == Path("/x/state/log")


@pytest.mark.parametrize("place", ["", "kept", "/mnt/kept", "file:///mnt/kept", "C:/odd"])
def test_folders_may_be_state_directories(place: str) -> None:
    assert Machine(state_dir=place).state_dir == place


@pytest.mark.parametrize("scheme", OBJECT_STORES)
def test_object_stores_may_be_state_directories(scheme: str) -> None:
    assert Machine(state_dir=f"{scheme}://bucket/kept").state_dir == f"{scheme}://bucket/kept"


@pytest.mark.parametrize("place", ["sftp://h/kept", "memory://kept", "https://h/kept", "://x"])
def test_other_addresses_are_refused_with_a_remedy(place: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Machine.parse({"state_dir": place})
    assert str(refusal.value).startswith("state_dir: must be a folder or an address that begins")
    assert str(refusal.value).endswith("; mount the file system and give the folder")
    assert "\n" not in str(refusal.value)
