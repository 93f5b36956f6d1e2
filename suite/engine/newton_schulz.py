"""Muon's direction: a matrix made nearly orthogonal, and how far a step along it goes.

K. Jordan et al. 2024; scaled in Keras as by Liu et al. 2025 (arXiv 2502.16982).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7


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


def step_scale(matrices: Tensor, semantics: str) -> float:
    """The factor by which the learning rate is multiplied for matrices of this shape."""
    rows, columns = matrices.shape[1:]
    if semantics == "keras":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
