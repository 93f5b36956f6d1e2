"""Deep linear networks: factors, their product, its gradient in every layer, imbalances.

A network is a tuple of factors ``(W_1, …, W_L)`` with ``W_j`` of shape (d_j, d_{j−1}); its function
is the product ``F = W_L ⋯ W_1``. The two-factor network ``W = UV`` is ``(V, U)``. Every function
here also takes stacks: leading axes broadcast, so that one call serves many seeds or minibatches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float64]
Factors: TypeAlias = tuple[Matrix, ...]


def transposed(matrix: Matrix) -> Matrix:
    """The transpose of the last two axes, for a matrix or a stack of them."""
    return np.swapaxes(matrix, -1, -2)


def as_factors(factors: Sequence[Matrix]) -> Factors:
    """The factors as float64, once it is sure that they can be multiplied.

    Raises
    ------
    ValueError
        There are fewer than two factors, one is no matrix, one holds a number that is not finite,
        or adjacent shapes do not fit.
    """
    checked = tuple(np.asarray(factor, dtype=np.float64) for factor in factors)
    if len(checked) < 2:
        raise ValueError(
            f"factors: at least two, got {len(checked)}; one factor has no neighbour to balance"
        )
    for index, factor in enumerate(checked, start=1):
        if factor.ndim < 2:
            raise ValueError(
                f"factors: W_{index} must be a matrix, got shape {factor.shape}; "
                "give a scalar as a 1×1 matrix"
            )
        if not np.isfinite(factor).all():
            raise ValueError(
                f"factors: W_{index} must be finite, got nan or inf; lower the learning rate"
            )
    for index, (inner, outer) in enumerate(pairwise(checked), start=1):
        if outer.shape[-1] != inner.shape[-2]:
            raise ValueError(
                f"factors: columns of W_{index + 1} must equal rows of W_{index}, got shapes "
                f"{outer.shape} and {inner.shape}; order them from the input to the output"
            )
    return checked


def random_factors(
    widths: Sequence[int], sigma_w: float, generator: np.random.Generator
) -> Factors:
    """Factors with independent entries from N(0, σ_w²/fan_in).

    Parameters
    ----------
    widths
        d_0, …, d_L from input to output, each at least 1; at least three of them.
    sigma_w
        Initialization scale, a pure number.
    generator
        Source of the draws.

    Raises
    ------
    ValueError
        Fewer than three widths.
    """
    factors = [
        generator.normal(0.0, sigma_w / np.sqrt(fan_in), size=(fan_out, fan_in))
        for fan_in, fan_out in pairwise(widths)
    ]
    return as_factors(factors)


def product(factors: Sequence[Matrix]) -> Matrix:
    """The network's function ``F = W_L ⋯ W_1``, shape (d_L, d_0)."""
    result = factors[0]
    for factor in factors[1:]:
        result = factor @ result
    return result


def layer_gradients(factors: Sequence[Matrix], product_gradient: Matrix) -> Factors:
    """The gradient estimate that one product-space gradient induces in each layer.

    ``H_j = A_jᵀ G B_jᵀ`` with ``A_j = W_L ⋯ W_{j+1}`` and ``B_j = W_{j−1} ⋯ W_1`` (Das et al. 2026,
    App. G, before Prop. 7). That all layers share one G is what makes the first-order terms of the
    leak cancel; estimates drawn separately for each layer leak at first order.

    Parameters
    ----------
    factors
        ``(W_1, …, W_L)``.
    product_gradient
        ``G``, an estimate of ∇φ at the product, shape (d_L, d_0); leading axes broadcast.

    Returns
    -------
    tuple of arrays
        ``(H_1, …, H_L)``, each of its factor's shape (behind the leading axes of G).
    """
    below: list[Matrix] = []  # G B_jᵀ
    carried = product_gradient
    for factor in factors:
        below.append(carried)
        carried = carried @ transposed(factor)
    gradients: list[Matrix] = []
    above: Matrix | None = None  # A_jᵀ, from the output down; empty products are the identity
    for factor, right in zip(reversed(factors), reversed(below), strict=True):
        gradients.append(right if above is None else above @ right)
        above = transposed(factor) if above is None else transposed(factor) @ above
    return tuple(reversed(gradients))


def imbalances(factors: Sequence[Matrix]) -> Factors:
    """The adjacent imbalances ``D_j = W_j W_jᵀ − W_{j+1}ᵀ W_{j+1}``, j = 1, …, L−1.

    Returns
    -------
    tuple of arrays
        L−1 symmetric matrices, D_j of shape (d_j, d_j), in squared units of the weights.
    """
    return tuple(
        inner @ transposed(inner) - transposed(outer) @ outer for inner, outer in pairwise(factors)
    )


def two_factor_imbalance(U: Matrix, V: Matrix) -> Matrix:
    """The imbalance ``D = UᵀU − VVᵀ`` of ``W = UV``, shape (r, r).

    It is the negative of ``imbalances((V, U))[0]``: the paper counts two factors from the output
    and deep networks from the input.
    """
    return transposed(U) @ U - V @ transposed(V)
