"""Every draw depends on seed and purpose, and on nothing else."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.basics.randomness import batch_order, generator, stream_key

seeds = st.integers(0, 2**63 - 1)
purposes = st.tuples(st.sampled_from(("order", "weight", "bias", "crop")), st.integers(0, 10**6))


def test_streams_stay_what_they_were() -> None:
    """Initial weights and batch orders of stored runs hang on these numbers."""
    assert stream_key(42, "order", 1) == 488_565_627_526_079_385
    assert batch_order(42, 1, 8).tolist() == [0, 5, 2, 6, 4, 3, 1, 7]


@given(seeds, purposes)
def test_a_key_is_one_that_every_generator_takes(seed: int, purpose: tuple[str, int]) -> None:
    key = stream_key(seed, *purpose)
    assert 0 <= key < 2**63
    assert generator(seed, *purpose).initial_seed() == key


@given(st.lists(st.tuples(seeds, purposes), min_size=2, max_size=20, unique=True))
def test_other_seeds_and_purposes_have_other_streams(
    streams: list[tuple[int, tuple[str, int]]],
) -> None:
    keys = {stream_key(seed, *purpose) for seed, purpose in streams}
    assert len(keys) == len(streams)


@given(seeds, st.integers(1, 10_000), st.integers(1, 300))
def test_an_epoch_visits_every_image_once(seed: int, epoch: int, images: int) -> None:
    order = batch_order(seed, epoch, images)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(images))
    assert torch.equal(order, batch_order(seed, epoch, images))


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    orders = {
        tuple(batch_order(seed, epoch, 50).tolist()) for seed in range(5) for epoch in range(1, 21)
    }
    assert len(orders) == 100


def test_global_random_state_is_neither_read_nor_changed() -> None:
    def state() -> tuple[object, ...]:
        position = np.random.get_state(legacy=False)
        return (torch.get_rng_state().tolist(), str(position), random.getstate())

    orders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = state()
        orders.append(batch_order(0, 1, 100))
        torch.randn(3, generator=generator(0, "weight"))
        assert state() == before
    assert torch.equal(*orders)


@pytest.mark.parametrize("by", ["seed", "epoch"])
def test_orders_are_uniform_over_seeds_and_over_epochs(by: str) -> None:
    """Each image is equally often the first, and the last (χ², streams are fixed)."""
    images, draws = 20, 4000
    orders = torch.stack(
        [batch_order(*((n, 1) if by == "seed" else (42, n)), images) for n in range(1, draws + 1)]
    )
    for place in (0, -1):
        counts = torch.bincount(orders[:, place], minlength=images)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_streams_of_neighbouring_seeds_are_not_correlated() -> None:
    draws = torch.stack(
        [torch.randn(2000, generator=generator(s, "weight", "stem")) for s in range(20)]
    )
    correlation = torch.corrcoef(draws.double()) - torch.eye(20)
    assert correlation.abs().max() < 5 / 2000**0.5
