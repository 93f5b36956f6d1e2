"""Gradient flow of linear networks, integrated by SciPy to a stated tolerance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from suite.minimal_model.losses import ProductGradient
from suite.minimal_model.network import Factors, Matrix, as_factors, layer_gradients, product


def gradient_flow(
    factors: Sequence[Matrix],
    product_gradient: ProductGradient,
    times: Sequence[float],
    *,
    weight_decay: float = 0.0,
    relative_tolerance: float = 1e-11,
    absolute_tolerance: float = 1e-12,
) -> list[Factors]:
    """The factors along ``Ẇ_j = −∇_{W_j} φ(F) − λ W_j``.

    The integrator (Dormand–Prince of order 8) does not know of the conserved imbalance, so how well
    D is kept also tells how well the flow was solved: at the default tolerances to about 1e-9 of
    the factors' squared norm over times of order 10.

    Parameters
    ----------
    factors
        ``(W_1, …, W_L)`` at time 0; no leading axes.
    product_gradient
        ∇φ as a function of the product; it must be deterministic.
    times
        Increasing times ≥ 0 at which the factors are wanted.
    weight_decay
        λ ≥ 0, per unit of time.
    relative_tolerance, absolute_tolerance
        Local error allowed per step and weight.

    Returns
    -------
    list of tuples of arrays
        One network for each time.

    Raises
    ------
    ValueError
        Bad factors or times, or a negative λ.
    ArithmeticError
        The solver stopped early, as where the loss drives the factors to infinity.
    """
    start = as_factors(factors)
    moments = np.asarray(times, dtype=np.float64)
    if moments.size == 0 or moments[0] < 0 or (np.diff(moments) <= 0).any():
        raise ValueError(
            f"times: increasing and not negative, got {list(times)}; sort them and start at 0"
        )
    if weight_decay < 0:
        raise ValueError(f"weight_decay: at least 0, got {weight_decay}; use 0 for none")

    def velocity(_time: float, packed: NDArray[np.float64]) -> NDArray[np.float64]:
        current = _unpack(packed, start)
        gradients = layer_gradients(current, product_gradient(product(current)))
        return -_pack(gradients) - weight_decay * packed

    solution = solve_ivp(
        velocity,
        (0.0, float(moments[-1]) or 1.0),
        _pack(start),
        method="DOP853",
        t_eval=moments,
        rtol=relative_tolerance,
        atol=absolute_tolerance,
    )
    if not solution.success:
        raise ArithmeticError(f"gradient flow stopped early: {solution.message}")
    return [_unpack(column, start) for column in solution.y.T]


def _pack(factors: Sequence[Matrix]) -> NDArray[np.float64]:
    return np.concatenate([factor.ravel() for factor in factors])


def _unpack(packed: NDArray[np.float64], like: Factors) -> Factors:
    pieces = np.split(packed, np.cumsum([factor.size for factor in like])[:-1])
    return tuple(piece.reshape(factor.shape) for piece, factor in zip(pieces, like, strict=True))
