"""What the tests of the study share: where it is kept, and scoreboards that are closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.sweep.study import Scoreboard


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "" if request.param == "memory" else f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def boards() -> Iterator[list[Scoreboard]]:
    """Scoreboards whose database connections are closed in the end."""
    made: list[Scoreboard] = []
    yield made
    for board in made:
        engine = getattr(board._storage, "engine", None)
        if engine is not None:
            engine.dispose()
