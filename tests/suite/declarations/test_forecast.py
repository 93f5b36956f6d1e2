"""What is expected of a recipe follows from the clocks that act under its rule."""

from __future__ import annotations

from typing import get_args

import pytest

from suite.declarations.config import RunConfig, parse
from suite.declarations.forecast import forecast
from suite.declarations.update_constants import ADAM_BASED, ADAPTIVE, DECAYING, PLAIN

STEPS = 100  # of one image each, so that all clocks are sums over 100 equal rates


def word(rate: float, **changes: object) -> str:
    """Of 100 steps at a constant rate and batch size 1."""
    fixed = {"schedule": "constant", "epochs": STEPS, "batch_size": 1, "learning_rate": rate}
    return forecast(parse(fixed | changes), train_images=1).word


@pytest.mark.parametrize("rule", ADAPTIVE)
def test_adaptive_rules_forget_by_the_sum_of_rates(rule: str) -> None:
    assert word(0.0101, optimizer=rule) == "forgets"  # Σ η = 1.01, and Σ η² = 0.01
    assert word(0.0099, optimizer=rule) == "in between"
    assert word(0.0101, optimizer="sgd") == "remembers"


@pytest.mark.parametrize("kind", ["heavy-ball", "nesterov"])
def test_momentum_of_either_kind_counts_as_sgd_at_ten_times_the_rate(kind: str) -> None:
    momentum = {"optimizer": "momentum", "momentum_kind": kind}
    assert word(0.0101, **momentum) == word(0.101) == "forgets"
    assert word(0.0099, **momentum) == word(0.099) == "in between"


def test_a_warm_up_takes_half_of_its_steps_from_the_sum_of_rates() -> None:
    warm = {"optimizer": "lion", "warmup_epochs": 40}
    assert word(1.01 / (60 + 41 / 2), **warm) == "forgets"
    assert word(0.99 / (60 + 41 / 2), **warm) == "in between"


def test_every_rule_is_declared_by_its_moments_once() -> None:
    rules = get_args(RunConfig.model_fields["optimizer"].annotation)
    assert sorted([*PLAIN, *ADAM_BASED]) == sorted(rules)
    assert set(ADAPTIVE) <= set(rules)
    assert set(DECAYING) <= set(rules)
