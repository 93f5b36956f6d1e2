"""How many threads a run gets that trains alone."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.plain_loop import random_images
from suite.declarations.config import parse
from suite.engine.device import threads_for


@pytest.mark.parametrize(
    ("side", "settings", "threads"),
    [
        (8, {"width": 8, "batch_size": 64}, 1),  # the demo
        (8, {"width": 8, "batch_size": 256}, 1),
        (32, {"width": 16, "batch_size": 128}, 0),
        (32, {"width": 0, "batch_size": 16}, 0),  # the paper's smallest step
        (32, {"model": "resnet56", "width": 0, "batch_size": 16}, 0),
        (8, {"model": "timm/resnet18", "batch_size": 16}, 0),
    ],
)
def test_a_small_network_gets_one_thread_and_others_all(
    side: int, settings: dict[str, Any], threads: int
) -> None:
    assert threads_for(parse(settings), random_images(side)) == threads
