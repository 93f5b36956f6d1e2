"""Augmentation against an explicit flip, reflected border and crop, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from suite.data.augmentation import Draws, draw, gather

CPU = torch.device("cpu")


def one_by_one(images: torch.Tensor, index: torch.Tensor, draws: Draws) -> torch.Tensor:
    height, width = images.shape[2:]
    batch = torch.empty(*index.shape, *images.shape[1:], dtype=images.dtype)
    for place in np.ndindex(*index.shape):
        image = images[index[place]].double()
        image = image.flip(-1) if draws.flip[place] else image
        padded = functional.pad(image[None], (4, 4, 4, 4), mode="reflect")[0]
        top, left = int(draws.down[place]), int(draws.right[place])
        batch[place] = padded[:, top : top + height, left : left + width].to(images.dtype)
    return batch


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(5, 12),
    width=st.integers(5, 12),
    channels=st.integers(1, 3),
    epoch=st.integers(1, 1000),
)
def test_gather_flips_pads_by_reflection_and_crops(
    height: int, width: int, channels: int, epoch: int
) -> None:
    generator = torch.Generator().manual_seed(epoch)
    images = torch.randint(
        256, (9, channels, height, width), dtype=torch.uint8, generator=generator
    )
    index = torch.randint(9, (20, 3), generator=generator)
    draws = draw([0, 1, 2], epoch, 20, CPU)
    batch = gather(images, index, draws)
    assert batch.dtype == torch.uint8
    assert torch.equal(batch, one_by_one(images, index, draws))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)])
@pytest.mark.parametrize("flip", [False, True])
def test_gather_at_the_corners_of_the_border(flip: bool, down: int, right: int) -> None:
    images = torch.arange(60, dtype=torch.float64).view(2, 1, 5, 6)
    index = torch.tensor([[1]])
    draws = Draws(torch.tensor([[flip]]), torch.tensor([[down]]), torch.tensor([[right]]))
    batch = gather(images, index, draws)
    assert torch.equal(batch, one_by_one(images, index, draws))
    if (down, right, flip) == (4, 4, False):
        assert torch.equal(batch[0, 0], images[1])


def test_draws_are_fair_and_independent() -> None:
    draws = draw([11], 1, 81_000, CPU)
    flips = int(draws.flip.sum())
    assert stats.binomtest(flips, 81_000).pvalue > 1e-3
    shifts = (9 * draws.down + draws.right).flatten()
    assert int(draws.down.min()) == int(draws.right.min()) == 0
    assert int(draws.down.max()) == int(draws.right.max()) == 8
    assert stats.chisquare(torch.bincount(shifts, minlength=81).numpy()).pvalue > 1e-3
    table = torch.stack([torch.bincount(shifts[draws.flip.flatten() == f]) for f in (False, True)])
    assert stats.chi2_contingency(table.numpy()).pvalue > 1e-3


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    def numbers(seeds: list[int], epoch: int) -> torch.Tensor:
        draws = draw(seeds, epoch, 50, CPU)
        return torch.stack([draws.flip, draws.down, draws.right])

    together = numbers([3, 4], 2)
    assert torch.equal(together[..., :1], numbers([3], 2))
    assert torch.equal(together[..., 1:], numbers([4], 2))
    assert not torch.equal(together[..., :1], together[..., 1:])
    assert not torch.equal(numbers([3], 2), numbers([3], 1))


def test_a_slice_of_draws_is_the_slice_of_each() -> None:
    draws = draw([0, 1], 1, 20, CPU)
    part = draws[8:16]
    assert torch.equal(part.flip, draws.flip[8:16])
    assert torch.equal(part.down, draws.down[8:16])
    assert torch.equal(part.right, draws.right[8:16])
