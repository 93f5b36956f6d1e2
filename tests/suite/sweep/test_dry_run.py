"""What a dry run counts."""

from __future__ import annotations

import pytest

from suite.data.splits import ImageData
from suite.declarations.config import RunConfig, parse
from suite.sweep import dry_run


def test_recipes_that_differ_in_how_they_start_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[RunConfig] = []

    def count(config: RunConfig, _data: ImageData) -> dry_run.Cost:
        counted.append(config)
        return dry_run.Cost(1.0, 2, 3)

    monkeypatch.setattr(dry_run, "cost", count)
    starts = [
        {},
        {"kernel_distribution": "orthogonal"},
        {"layer_scaling": 1, "sigma_b": 0},
        {"head_scale": 3, "sigma_w": 2},
        {"optimizer": "adam"},  # whose moments are more
    ]
    recipes = {str(start): parse(start) for start in starts}
    found = dry_run._costs(recipes, dict.fromkeys(recipes))  # type: ignore[arg-type]
    assert list(found) == list(recipes)
    assert [config.optimizer for config in counted] == ["sgd", "adam"]
