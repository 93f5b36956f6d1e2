"""Random flips and crops of images, on the device (Das et al. 2026, App. A and E)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.basics.randomness import generator

PAD = 4  # pixels of reflected border on each side


@dataclass(frozen=True)
class Draws:
    """What happens to each image of one epoch, in the order of its visits.

    Attributes
    ----------
    flip
        Whether the image is mirrored left to right: bool, shape (images, R).
    down, right
        Where the crop starts inside the padded image: int64, 0 to 8, shape (images, R).
    """

    flip: Tensor
    down: Tensor
    right: Tensor

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.flip[part], self.down[part], self.right[part])


def draw(seeds: list[int], epoch: int, images: int, device: torch.device) -> Draws:
    """Draw how each image is flipped and cropped in one epoch of R runs with the given seeds."""
    numbers = torch.stack(
        [
            torch.randint(
                2 * (2 * PAD + 1) ** 2, (images,), generator=generator(seed, "augmentation", epoch)
            )
            for seed in seeds
        ],
        dim=1,
    ).to(device)
    shift, flip = numbers // 2, numbers % 2 == 1
    return Draws(flip, shift // (2 * PAD + 1), shift % (2 * PAD + 1))


def gather(images: Tensor, index: Tensor, draws: Draws) -> Tensor:
    """Flip and crop the images of one batch, without a padded copy of the data.

    Parameters
    ----------
    images
        The data set, shape (N, C, H, W), H and W at least 5.
    index
        Which image each place of the batch holds: int64, shape (batch, R).
    draws
        For the same places.

    Returns
    -------
    Tensor
        Shape (batch, R, C, H, W), of the data set's dtype.
    """
    channels, height, width = images.shape[1:]
    rows = _reflected(draws.down, height)
    columns = _reflected(draws.right, width)
    columns = torch.where(draws.flip[..., None], width - 1 - columns, columns)
    return images[
        index[..., None, None, None],
        torch.arange(channels, device=images.device)[:, None, None],
        rows[..., None, :, None],
        columns[..., None, None, :],
    ]


def _reflected(start: Tensor, length: int) -> Tensor:
    """Source positions of a crop of `length` from `start` of the padded axis."""
    position = torch.arange(length, device=start.device) + (start[..., None] - PAD)
    position = position.abs()
    return torch.where(position >= length, 2 * (length - 1) - position, position)
