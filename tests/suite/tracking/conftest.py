"""What the tests of tracking share."""

from __future__ import annotations

import pytest
from mlflow_stores import Store

from suite.tracking.runs import Tracker


@pytest.fixture
def tracker(store: Store) -> Tracker:
    return Tracker("", store.uri)
