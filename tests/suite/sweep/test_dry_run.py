"""What a dry run counts."""

from __future__ import annotations

import pytest

from suite.declarations.config import RunConfig
from suite.sweep import dry_run
from suite.sweep.dry_run import Cost, _costs


def test_recipes_that_differ_in_where_training_starts_alone_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def count(config: RunConfig, _: object) -> Cost:
        asked.append((config.sigma_b, config.width))
        return Cost(float(config.width), 0, 0)

    monkeypatch.setattr(dry_run, "cost", count)
    configs = [
        RunConfig(sigma_b=bias, width=width, batch_size=size)
        for width in (4, 8)
        for bias in (0.0, 0.2, 1.0)
        for size in (16, 64)
    ]
    recipes = {config.recipe_fingerprint: config for config in configs}
    found = _costs(recipes, dict.fromkeys(recipes))  # type: ignore[arg-type]
    assert [width for _, width in asked] == [4, 8]
    assert {name: cost.flops for name, cost in found.items()} == {
        name: float(config.width) for name, config in recipes.items()
    }
