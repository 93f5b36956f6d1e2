"""The version that runs carry."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from typing import NoReturn

import pytest

from suite.basics.code_version import code_version


def test_the_code_version_is_the_packages_where_there_is_no_git(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_git(*_: object, **__: object) -> NoReturn:
        raise FileNotFoundError("git")

    code_version.cache_clear()
    monkeypatch.setattr(subprocess, "run", no_git)
    try:
        assert code_version() == version("initialization-memory")
    finally:
        code_version.cache_clear()
