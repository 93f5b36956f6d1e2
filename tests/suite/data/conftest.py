"""What the tests of data share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_folders import make_folder

from suite.data import image_folder


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "cache"
    monkeypatch.setenv("SUITE_CACHE_DIR", str(directory))
    return directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture
def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fail(path: str) -> Any:
        raise AssertionError(f"{path} was decoded")

    return lambda: monkeypatch.setattr(image_folder, "decode_image", fail)
