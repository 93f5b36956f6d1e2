"""Runs as the tests of tracking begin them, without training."""

from __future__ import annotations

from collections.abc import Sequence

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EpochRecord
from suite.tracking.runs import DataDescription, Tracker

CONFIG = parse({"optimizer": "adam", "learning_rate": "1e-3", "seed": 42})
DATA = DataDescription(
    name="digits",
    digest="0123456789abcdef",
    source="sklearn.datasets.load_digits",
    sizes={"train": 1150, "validation": 288, "test": 359},
    image_shape=(1, 8, 8),
    classes=("0", "1"),
)


def records(epochs: Sequence[int]) -> list[EpochRecord]:
    return [
        EpochRecord(e, 1_700_000_000_000 + e, 1 / e, 0.5, 2 / e, 0.25, 3.0 * e, 1e-3)
        for e in epochs
    ]


def begin(tracker: Tracker, config: RunConfig = CONFIG) -> str:
    return tracker.create(config, DATA, "cpu")
