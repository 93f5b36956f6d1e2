"""What App. G claims of single steps and of limits, for simulations to be held against.

Two losses with them: the propositions hold for any continuously differentiable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from suite.minimal_model.losses import ProductGradient
from suite.minimal_model.network import Factors, Matrix, transposed, two_factor_imbalance


def squared_distance(target: Matrix) -> ProductGradient:
    """The gradient ``2(F − target)`` of ``‖F − target‖²``; for scalars Figure 9's loss."""
    goal = np.asarray(target, dtype=np.float64)

    def gradient(function: Matrix) -> Matrix:
        return 2.0 * (function - goal)

    return gradient


def log_cosh_distance(target: Matrix) -> ProductGradient:
    """The gradient ``tanh(F − target)`` of ``Σ log cosh(F − target)``, a loss not quadratic."""
    goal = np.asarray(target, dtype=np.float64)

    def gradient(function: Matrix) -> Matrix:
        return np.asarray(np.tanh(function - goal), dtype=np.float64)

    return gradient


def converged_norm_squared(imbalance: float, target: float) -> float:
    """Prop. 2: ``a² + b² = √(D_0² + 4 p*²)`` where scalar gradient flow converges to ab = p*.

    Not claimed: that the flow converges (it may end at the saddle a = b = 0), or that the norm is
    so fixed in networks of more than one hidden unit.
    """
    return float(np.hypot(imbalance, 2.0 * target))


def two_factor_next_imbalance(
    U: Matrix, V: Matrix, product_gradient: Matrix, learning_rate: float, weight_decay: float = 0.0
) -> Matrix:
    """Prop. 4, and Prop. 5 at λ = 0: D after one simultaneous update of W = UV, exactly.

    ``D_{k+1} = (1 − ηλ)² D_k + η² (V GᵀG Vᵀ − Uᵀ G Gᵀ U)``, shape (r, r).

    Not claimed: a sign. The second-order term may lengthen memory as well as shorten it.
    """
    U_gradient = product_gradient @ transposed(V)
    V_gradient = transposed(U) @ product_gradient
    leak = transposed(U_gradient) @ U_gradient - V_gradient @ transposed(V_gradient)
    kept = 1.0 - learning_rate * weight_decay
    return np.asarray(kept**2 * two_factor_imbalance(U, V) + learning_rate**2 * leak)


def preconditioned_leak(
    factors: Sequence[Matrix], directions: Sequence[Matrix], learning_rate: float
) -> tuple[Factors, Factors]:
    """Prop. 8: the first- and second-order parts of each D_j's change under directions Q, exactly.

    Returns
    -------
    tuple of two tuples of arrays
        ``−η [Q_j W_jᵀ + W_j Q_jᵀ − Q_{j+1}ᵀ W_{j+1} − W_{j+1}ᵀ Q_{j+1}]`` and
        ``η² [Q_j Q_jᵀ − Q_{j+1}ᵀ Q_{j+1}]``; their sum is the change.

    Not claimed: that every adaptive optimizer contracts D. The bracket's sign is free, and it
    vanishes where the gradient does: full-batch Adam stops forgetting at the minimum.
    """
    first: list[Matrix] = []
    second: list[Matrix] = []
    for (W, W_next), (Q, Q_next) in zip(pairwise(factors), pairwise(directions), strict=True):
        inner = Q @ transposed(W)
        outer = transposed(Q_next) @ W_next
        first.append(
            -learning_rate * (inner + transposed(inner) - outer - transposed(outer)),
        )
        second.append(learning_rate**2 * (Q @ transposed(Q) - transposed(Q_next) @ Q_next))
    return tuple(first), tuple(second)


def sign_descent_path(
    start: tuple[float, float], target: float, clock: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(a, b) at ``T_adapt`` where both fall at unit speed until ab = target, shape (n, 2).

    The limit of full-batch Adam for rates so small that its averages are short beside the way to
    the minimum. It keeps b − a; from (1, 6) it stops with D = −5√29 = −26.93, the value at which
    Das et al. 2026 (Figure 9c) see Adam freeze.

    Raises
    ------
    ValueError
        The start is not in the positive quadrant above the minimum.
    """
    a, b = start
    if min(a, b) <= 0 or a * b < target or target <= 0:
        raise ValueError(
            f"start: positive with ab ≥ target > 0, got {start} and {target}; "
            "other starts do not fall at unit speed in both"
        )
    arrival = 0.5 * (a + b - np.sqrt((b - a) ** 2 + 4.0 * target))
    travelled = np.minimum(clock, arrival)
    return np.stack([a - travelled, b - travelled], axis=-1)
