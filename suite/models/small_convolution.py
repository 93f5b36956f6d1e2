"""3×3 convolutions of images of a pixel or a few, as matrix products of all runs."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# Images of at most this height and width are convolved as matrix products.
MATRIX_SIDE = 2
# Memory order of a kernel's axes (outputs, inputs, height, width) with the matrix of each tap in
# one piece.
TAP_MAJOR = (2, 3, 1, 0)


def small_convolution(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """A 3×3 convolution of stride 1 over at most 2×2 pixels, as matrix products.

    There, most taps of each position fall on padding: only the products with pixels are computed,
    4/9 or 1/9 of all, as a batched GEMM with a matrix per run and output pixel.

    Parameters
    ----------
    x
        Activations, shape (batch, R × inputs, height, width).
    kernel, bias
        Shapes (R, outputs, inputs, 3, 3), best in `TAP_MAJOR` memory order, and (R, outputs); None
        is no bias.

    Returns
    -------
    Tensor
        Shape (batch, R × outputs, height, width).
    """
    runs, outputs, inputs = kernel.shape[:3]
    batch, _, height, width = x.shape
    pixels = height * width
    images = x.permute(2, 3, 0, 1).reshape(pixels, batch, runs, inputs)
    images = images.permute(2, 1, 0, 3).reshape(runs, batch, pixels * inputs)
    by_tap = kernel.permute(0, 3, 4, 2, 1).reshape(runs, 9, inputs, outputs)
    if pixels == 1:
        scores = torch.bmm(images, by_tap[:, 4])
    else:
        chosen = _taps(height, width, kernel.device)
        # On a GPU the gradient of index_select adds up in any order, that of indexing in one.
        taps = by_tap[:, chosen] if kernel.is_cuda else by_tap.index_select(1, chosen)
        matrices = taps.view(runs * pixels, pixels * inputs, outputs)
        scores = torch.bmm(images.repeat_interleave(pixels, 0), matrices)
    scores = scores.view(runs, height, width, batch, outputs)
    if bias is not None:
        scores = scores + bias[:, None, None, None]
    scores = scores.permute(3, 1, 2, 0, 4).reshape(batch, height, width, runs * outputs)
    return scores.permute(0, 3, 1, 2)


@functools.cache
def _taps(height: int, width: int, device: torch.device) -> Tensor:
    """The tap that joins each input pixel (fast) to each output pixel (slow)."""
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    offset = pixels[None, :] - pixels[:, None] + 1
    return (offset[..., 0] * 3 + offset[..., 1]).flatten().to(device)
