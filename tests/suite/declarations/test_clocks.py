"""The schedule and the three clocks against closed forms and the paper's own figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from config_strategies import configs
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig, parse
from suite.declarations.paper_experiments import PAPER_RUN
from suite.declarations.schedule import learning_rates, steps_per_epoch

CIFAR_TRAIN = 40_000
ALPHA = 0.01
small = configs(epochs=st.integers(1, 40), batch_size=st.integers(1, 300))
images = st.integers(1, 400)


def paper(**changes: Any) -> RunConfig:
    return parse(PAPER_RUN | changes)


@pytest.mark.parametrize(
    ("batch_size", "train_images", "steps"),
    [
        (128, CIFAR_TRAIN, 313),
        (16, CIFAR_TRAIN, 2500),
        (256, CIFAR_TRAIN, 157),
        (64, 64, 1),
        (64, 65, 2),
        (64, 1, 1),
    ],
)
def test_the_last_partial_batch_is_a_step(batch_size: int, train_images: int, steps: int) -> None:
    config = paper(batch_size=batch_size, epochs=3)
    assert steps_per_epoch(config, train_images) == steps
    assert learning_rates(config, train_images).shape == (3 * steps,)


@given(small, images)
def test_every_rate_follows_the_papers_formula(config: RunConfig, train_images: int) -> None:
    rates = learning_rates(config, train_images)
    steps = math.ceil(train_images / config.batch_size)
    total, warm = config.epochs * steps, config.warmup_epochs * steps
    for k in {0, 1 % total, total // 2, max(warm - 1, 0), warm, total - 1}:
        wave = 0.5 * (1 + math.cos(math.pi * (k - warm) / (total - warm)))
        factor = config.cosine_alpha + (1 - config.cosine_alpha) * wave
        part = (k + 1) / warm if k < warm else factor if config.schedule == "cosine" else 1.0
        expected = config.learning_rate * part
        assert rates[k] == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert len(rates) == total


@given(small, images)
def test_rates_of_a_constant_schedule_add_up_to_products(
    config: RunConfig, train_images: int
) -> None:
    ended = clocks(config, train_images, constant_rate=True)
    steps = math.ceil(train_images / config.batch_size)
    epoch = np.arange(1, config.epochs + 1)
    rate = config.learning_rate
    close = {"rtol": 1e-11, "atol": 1e-290}
    assert_allclose(ended.adapt, epoch * steps * rate, **close)
    assert_allclose(ended.sgd, epoch * steps * rate**2 / config.batch_size, **close)
    assert_allclose(ended.l2, config.kernel_l2 * epoch * steps * rate, **close)


@given(small, images)
def test_rates_of_a_cosine_schedule_add_up_to_closed_forms(
    config: RunConfig, train_images: int
) -> None:
    """Σ cos(πk/K) over k < K is 1, and Σ cos² is K/2 (K > 1; the lone step of K = 1 has cos 0 = 1).

    With a = (1+α)/2 and c = (1−α)/2, η_k/η0 = a + c cos(πk/K).
    """
    fields = {"schedule": "cosine", "cosine_alpha": 0.3, "warmup_epochs": 0}
    config = parse({**config.model_dump(), **fields})
    total = config.epochs * math.ceil(train_images / config.batch_size)
    a, c = 1.3 / 2, 0.7 / 2
    squares = total / 2 if total > 1 else 1.0
    rate = config.learning_rate
    ended = clocks(config, train_images)
    close = {"rel": 1e-10, "abs": 1e-290}
    assert ended.adapt[-1] == pytest.approx(rate * (a * total + c), **close)
    sum_of_squares = rate**2 * (a**2 * total + 2 * a * c + c**2 * squares)
    assert ended.sgd[-1] == pytest.approx(sum_of_squares / config.batch_size, **close)
    assert ended.l2[-1] == pytest.approx(config.kernel_l2 * rate * (a * total + c), **close)


@given(small, images)
def test_a_warm_up_adds_to_the_clocks_half_and_a_third_of_its_steps(
    config: RunConfig, train_images: int
) -> None:
    """Σ k/W over k = 1 … W is (W+1)/2, and Σ (k/W)² is (W+1)(2W+1)/(6W)."""
    fields = {"schedule": "constant", "cosine_alpha": 0.01}
    config = parse({**config.model_dump(), **fields})
    warm = config.warmup_epochs
    assume(warm > 0)
    rate, steps = config.learning_rate, warm * math.ceil(train_images / config.batch_size)
    ended = clocks(config, train_images)
    close = {"rel": 1e-10, "abs": 1e-290}
    assert ended.adapt[warm - 1] == pytest.approx(rate * (steps + 1) / 2, **close)
    squares = rate**2 * (steps + 1) * (2 * steps + 1) / (6 * steps)
    assert ended.sgd[warm - 1] == pytest.approx(squares / config.batch_size, **close)
    assert ended.l2[warm - 1] == pytest.approx(config.kernel_l2 * rate * (steps + 1) / 2, **close)
    # After it, the schedule is that of the epochs which are left, from their first step.
    rest = config.with_(warmup_epochs=0, epochs=config.epochs - warm)
    after = learning_rates(config, train_images)[steps:]
    np.testing.assert_array_equal(after, learning_rates(rest, train_images))


@pytest.mark.parametrize(
    ("changes", "clock", "constant", "cosine"),
    [
        ({"batch_size": 128}, "sgd", 7.3e-4, 2.77e-4),
        ({"batch_size": 16, "learning_rate": 1e-2}, "sgd", 4.7, 1.77),
        ({"batch_size": 128, "learning_rate": 1e-2, "kernel_l2": 1e-3}, "l2", 0.94, 0.474),
        ({"batch_size": 128, "learning_rate": 1e-2, "kernel_l2": 5e-3}, "l2", 4.7, 2.37),
    ],
)
def test_the_papers_figures_and_those_with_its_own_decay(
    changes: dict[str, Any], clock: str, constant: float, cosine: float
) -> None:
    """Das et al. 2026, §4.2, "numerical check", to the digits given; App. A for the schedule."""
    config = paper(**changes)
    by_hand = getattr(clocks(config, CIFAR_TRAIN, constant_rate=True), clock)[-1]
    exact = getattr(clocks(config, CIFAR_TRAIN), clock)[-1]
    assert float(f"{by_hand:.1e}") == pytest.approx(constant)
    assert float(f"{exact:.2e}") == pytest.approx(cosine)


def test_the_long_run_has_a_constant_rate() -> None:
    config = paper(epochs=5000, schedule="constant")
    ended = clocks(config, CIFAR_TRAIN)
    assert float(f"{ended.sgd[-1]:.1e}") == 1.2e-2
    for exact, by_hand in zip(
        vars(ended).values(),
        vars(clocks(config, CIFAR_TRAIN, constant_rate=True)).values(),
        strict=True,
    ):
        assert_allclose(exact, by_hand)


def test_what_cosine_decay_takes_from_the_clocks() -> None:
    exact, by_hand = (clocks(paper(), CIFAR_TRAIN, constant_rate=c) for c in (False, True))
    a, c = (1 + ALPHA) / 2, (1 - ALPHA) / 2
    assert exact.adapt[-1] / by_hand.adapt[-1] == pytest.approx(a, rel=2e-5)
    assert exact.sgd[-1] / by_hand.sgd[-1] == pytest.approx(a**2 + c**2 / 2, rel=2e-5)
    assert round(a, 3) == 0.505
    assert a**2 + c**2 / 2 == pytest.approx(0.3775, abs=1e-4)


@given(small, images)
def test_clocks_never_go_back(config: RunConfig, train_images: int) -> None:
    for clock in vars(clocks(config, train_images)).values():
        assert clock.shape == (config.epochs,)
        assert clock[0] >= 0
        assert (np.diff(clock) >= 0).all()


def test_no_clock_stands_still_in_the_first_epoch_of_a_warm_up() -> None:
    """On a logarithmic clock an epoch at 0 would have no place."""
    config = parse({"warmup_epochs": 5, "batch_size": 64, "kernel_l2": 0.1, "epochs": 20})
    for clock in vars(clocks(config, train_images=64)).values():  # one step an epoch
        assert clock[0] > 0


@given(small, images, st.integers(0, 50))
def test_early_stopping_does_not_change_the_schedule(
    config: RunConfig, train_images: int, patience: int
) -> None:
    stopping = config.with_(early_stopping_patience=patience)
    np.testing.assert_array_equal(
        learning_rates(stopping, train_images), learning_rates(config, train_images)
    )


@given(small, images)
def test_decoupled_decay_is_not_on_the_l2_clock(config: RunConfig, train_images: int) -> None:
    fields = {"optimizer": "adamw", "weight_decay": 0.5, "kernel_l2": 0.0}
    fields |= {"momentum": 0.9, "momentum_kind": "heavy-ball"}
    decoupled = parse({**config.model_dump(), **fields})
    assert not clocks(decoupled, train_images).l2.any()
