"""Where the state of runs is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.state.place import locate, log_folder


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
