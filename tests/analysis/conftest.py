"""What the tests of reading stores share."""

from __future__ import annotations

import pytest
from store_helpers import (
    CONFIGS,
    FAULTS,
    empty_store,
)

from analysis.store.frames import Store, load
from benchmarks.synthetic_store import Written, write


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Written, Store]:
    uri = empty_store(tmp_path_factory.mktemp("clean"))
    written = write(uri, CONFIGS)
    return uri, written, load("synthetic", uri, cache=False)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Written, Store]:
    uri = empty_store(tmp_path_factory.mktemp("faulty"))
    written = write(uri, CONFIGS, faults=FAULTS)
    return uri, written, load("synthetic", uri, cache=False)
