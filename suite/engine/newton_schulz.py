"""Muon's direction: a matrix made nearly orthogonal, how far a step goes, and which kernels suit.

K. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; scaled in Keras as by Liu et al.
2025 (arXiv 2502.16982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7
SMALLEST_SIDE, MOST_ELONGATED = 4, 128  # of a kernel seen as a matrix; timm's, as below


def newton_schulz(matrices: Tensor, *, keras: bool) -> Tensor:
    """Approximately orthogonalised matrices, five quintic Newton–Schulz iterations.

    The iteration runs in the matrices' own precision. (torch.optim.Muon rounds to bfloat16 first,
    which would make a run's numbers depend on its company in the fleet.)

    Parameters
    ----------
    matrices
        Shape (R, rows, columns).
    keras
        Whether the guard against a zero norm is added (Keras) or a lower bound (torch).
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    # Not `matrix_norm`, whose sum in one go is 4e-5 off at two million numbers in fp32.
    norm = x.square().sum(dim=(1, 2), keepdim=True).sqrt()
    x = x / (norm + EPSILON if keras else norm.clamp(min=EPSILON))
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def is_hidden_matrix(shape: Sequence[int]) -> bool:
    """Whether a kernel is a matrix between features, as Muon is for, by its shape.

    Muon's authors give it hidden layers only, and leave input and output layers to AdamW. What
    that means for convolutions is taken from timm.optim.Muon (timm 1.0.31, `timm/optim/muon.py`,
    `_is_suitable_for_muon`): a kernel of one input or output channel is none, so neither a
    depthwise convolution, whose filters are each channel's own, nor the first layer on gray
    images; nor is one that is too small or too elongated once its last axes are flattened, such as
    the first layer of single pixels. The first convolution on colour images is one for timm.

    Parameters
    ----------
    shape
        Outputs, inputs of one group, and the filter's height and width if there are any.
    """
    outputs, inputs = shape[0], math.prod(shape[1:])
    if len(shape) < 2 or outputs == 1 or shape[1] == 1:
        return False
    least, most = sorted((outputs, inputs))
    return least >= SMALLEST_SIDE and most <= MOST_ELONGATED * least


def step_scale(matrices: Tensor, semantics: str) -> float:
    """The factor by which the learning rate is multiplied for matrices of this shape."""
    rows, columns = matrices.shape[1:]
    if semantics == "keras":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
