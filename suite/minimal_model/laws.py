"""What App. G says about the imbalance, as functions that a simulation is held against.

Each takes the state before a step (or at time 0) and returns what the law predicts. The last three
are not in the paper: they are leading-order solutions of the scalar model, derived here, that give
its clocks a curve to be compared with. The propositions that only the tests use stand there
(`tests/suite/propositions.py`).

None of them claims that memory falls monotonically. The Euclidean leak of Prop. 7 has no fixed
sign; Props. 1, 3 and 6 are about flow, not about steps; and all are about linear networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from suite.minimal_model.network import (
    Factors,
    Matrix,
    layer_gradients,
    transposed,
)


def decayed_imbalance(
    imbalance: Matrix, weight_decay: float, time: float | NDArray[np.float64]
) -> Matrix:
    """Props. 1, 3 and 6: ``D(t) = e^{−2λt} D(0)`` along gradient flow; constant at λ = 0.

    Not claimed: that D decays so under finite steps, or without coupled decay.
    """
    return np.asarray(np.exp(-2.0 * weight_decay * time) * imbalance)


def euclidean_leak(
    factors: Sequence[Matrix], product_gradient: Matrix, learning_rate: float
) -> Factors:
    """Prop. 7: the change of each D_j in one Euclidean step, exactly.

    ``D_{j,k+1} − D_{j,k} = η² (H_j H_jᵀ − H_{j+1}ᵀ H_{j+1})``: all first-order terms cancel, if the
    layers share one product-space gradient.

    Not claimed: a sign, or the cancellation for layerwise estimates drawn independently.
    """
    gradients = layer_gradients(factors, product_gradient)
    return tuple(
        learning_rate**2 * (inner @ transposed(inner) - transposed(outer) @ outer)
        for inner, outer in pairwise(gradients)
    )


def batch_dependent_leak(factors: Sequence[Matrix], noise: Matrix, learning_rate: float) -> Factors:
    """The minibatch part of the expected leak: the mean over draws of Prop. 7 at G = ξ.

    Parameters
    ----------
    factors
        ``(W_1, …, W_L)``.
    noise
        Draws of ξ = G − Ḡ, shape (draws, d_L, d_0). With E‖ξ‖² = O(1/b) the result is O(η²/b).
    learning_rate
        η.

    Returns
    -------
    tuple of arrays
        One (d_j, d_j) matrix for each hidden layer. Not claimed: a sign.
    """
    return tuple(leak.mean(axis=0) for leak in euclidean_leak(factors, noise, learning_rate))


def sgd_imbalance_fraction(
    clock: NDArray[np.float64], target_variance: float, curvature: float = 2.0
) -> NDArray[np.float64]:
    """D/D_0 of the scalar model under SGD at ``T_SGD``, to leading order: ``e^{−c²σ² T}``.

    Near ab = p* one step multiplies D by ``1 − η² g²`` exactly (Prop. 5 with scalars), with
    g = c(ab − y) and E g² ≈ c²σ²/b for targets y of variance σ². The next order, from the noise of
    ab itself, makes forgetting faster by 1/(1 − cη(a² + b²)/2).
    """
    return np.asarray(np.exp(-(curvature**2) * target_variance * clock))


def averaged_descent_path(
    start: tuple[float, float], target: float, clock: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(a, b) at ``T_adapt`` under Adam whose second moment is the mean of all squares so far.

    This is full-batch Adam while the steps taken are many beside 1/(1 − β1) and few beside
    1/(1 − β2). The large gradients of the start stay in the mean, so that the approach slows and
    more of D is kept than where they are many beside both, and Adam becomes sign descent.

    Parameters
    ----------
    start, target
        (a, b) at 0, and the product at the minimum.
    clock
        Increasing values of T_adapt ≥ 0.

    Returns
    -------
    array of shape (n, 2)
    """
    a0, b0 = start
    first = 1e-9 * (1.0 + abs(clock[-1]))  # at 0 the mean of the squares so far is 0/0

    def velocity(now: float, state: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, a_squares, b_squares = state
        gap = a * b - target
        gradients = gap * np.array([b, a])
        squares = np.array([a_squares, b_squares])
        return np.concatenate([-gradients / np.sqrt(squares / now), gradients**2])

    squares = ((a0 * b0 - target) * np.array([b0, a0])) ** 2 * first
    moments = np.maximum(clock, first)
    solution = solve_ivp(
        velocity,
        (first, float(moments[-1])),
        [a0, b0, *squares],
        method="LSODA",
        t_eval=moments,
        rtol=1e-9,
        atol=1e-12,
    )
    if not solution.success:
        raise ArithmeticError(f"averaged descent stopped early: {solution.message}")
    return np.asarray(solution.y[:2].T)


def adam_imbalance_on_minimum(difference: float, clock: NDArray[np.float64]) -> NDArray[np.float64]:
    """D of minibatch Adam on ab = 1 at ``Σ η²`` (without 1/b), to leading order in η.

    With slow second moments √v ∝ b and a, the update is SGD in the coordinates (a/√α, b/√β), which
    keeps a²/α − b²/β to first order. Its second-order leak shrinks the difference as
    ``|b| − |a| = δ_0 e^{−Ση²/2}``, and D = −δ √(δ² + 4). Neither the noise nor the batch size is
    left in it: on the minimum the mean gradient is zero, and so is the mean of Prop. 8's
    first-order term. T_adapt therefore times the way to the minimum, not what follows.

    Parameters
    ----------
    difference
        δ_0 = |b| − |a| on arrival, ≥ 0.
    clock
        Σ η_k² since arrival.
    """
    delta = difference * np.exp(-0.5 * clock)
    return np.asarray(-delta * np.sqrt(delta**2 + 4.0))
