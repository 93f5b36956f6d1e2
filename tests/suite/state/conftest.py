"""A workspace, and the working directory in which its store would be."""

from __future__ import annotations

from pathlib import Path

import pytest
from kept_run import STORE

from suite.state.workspace import Workspace


@pytest.fixture
def beside_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def workspace(tmp_path: Path, beside_its_store: None) -> Workspace:
    return Workspace(tmp_path, STORE)
