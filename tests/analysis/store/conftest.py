"""What the tests of one store share: a store and a cache of their own, and what is read of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_helpers import empty_store

from analysis.store.history import Slots
from analysis.store.sqlite import SqliteStore


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    return empty_store(tmp_path)


@pytest.fixture
def read_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all runs whose histories were read from the store."""
    ids: list[str] = []
    read = SqliteStore.read

    def recording(self: SqliteStore, slots: Slots) -> None:
        ids.extend(slots.run_ids)
        read(self, slots)

    monkeypatch.setattr(SqliteStore, "read", recording)
    return ids
