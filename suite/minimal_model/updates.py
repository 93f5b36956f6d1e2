"""Discrete training of linear networks: simultaneous updates of all factors.

A rule turns the layers' gradients H_j into directions Q_j; `step` then moves every factor at once,
``W_j ← (1 − ηλ) W_j − η Q_j``. Gradient descent and SGD are the Euclidean rule (they differ in the
gradient they are fed); Adam and other preconditioners are maps of H_j, with or without a memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from suite.minimal_model.losses import ProductGradient
from suite.minimal_model.network import Factors, Matrix, as_factors, layer_gradients, product


class Rule(Protocol):
    """An update rule."""

    def directions(self, factors: Factors, gradients: Factors, /) -> Factors:
        """The directions ``(Q_1, …, Q_L)``, each of its factor's shape; may advance a state."""


@dataclass(frozen=True)
class Euclidean:
    """The gradient itself, Q_j = H_j: gradient descent, or SGD on minibatch gradients."""

    def directions(self, _factors: Factors, gradients: Factors, /) -> Factors:
        """The gradients, unchanged."""
        return gradients


@dataclass(frozen=True)
class Preconditioned:
    """A general preconditioner without memory, Q_j = P_j(H_j).

    Attributes
    ----------
    maps
        One function for each layer, from W_j and H_j to Q_j of the same shape.
    """

    maps: tuple[Callable[[Matrix, Matrix], Matrix], ...]

    def directions(self, factors: Factors, gradients: Factors, /) -> Factors:
        """The gradients, each through its layer's map."""
        layers = zip(self.maps, factors, gradients, strict=True)
        return tuple(precondition(factor, gradient) for precondition, factor, gradient in layers)


@dataclass
class Adam:
    """Adam over the factors' entries (Kingma & Ba 2015, Algorithm 1), ε outside the root.

    ε is added after the bias correction, as in PyTorch. Keras adds it before; in the scalar model
    neither the place nor 1e-7 against 1e-8 changes D by more than 1e-6.

    Attributes
    ----------
    beta1, beta2
        Decay of the first and second moment, in [0, 1).
    epsilon
        Added to the root of the second moment, > 0.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    _first: Factors = field(default=(), init=False, repr=False)
    _second: Factors = field(default=(), init=False, repr=False)
    _steps: int = field(default=0, init=False, repr=False)

    def directions(self, _factors: Factors, gradients: Factors, /) -> Factors:
        """The bias-corrected first moment over the root of the second; advances the state."""
        zeros = tuple(np.zeros_like(gradient) for gradient in gradients)
        self._first = _averaged(self._first or zeros, gradients, self.beta1)
        squares = tuple(gradient**2 for gradient in gradients)
        self._second = _averaged(self._second or zeros, squares, self.beta2)
        self._steps += 1
        first_correction = 1.0 - self.beta1**self._steps
        second_correction = 1.0 - self.beta2**self._steps
        return tuple(
            (first / first_correction) / (np.sqrt(second / second_correction) + self.epsilon)
            for first, second in zip(self._first, self._second, strict=True)
        )


def _averaged(moments: Factors, new: Factors, beta: float) -> Factors:
    return tuple(beta * old + (1.0 - beta) * fresh for old, fresh in zip(moments, new, strict=True))


def step(
    factors: Sequence[Matrix],
    directions: Sequence[Matrix],
    learning_rate: float,
    weight_decay: float = 0.0,
) -> Factors:
    """The factors after one simultaneous update, ``(1 − ηλ) W_j − η Q_j``.

    Parameters
    ----------
    factors, directions
        ``(W_1, …, W_L)`` and ``(Q_1, …, Q_L)``.
    learning_rate
        η.
    weight_decay
        λ. Under the Euclidean rule this is the coupled decay of Prop. 4; under Adam it is AdamW's
        decoupled one, since it does not pass through the preconditioner.
    """
    kept = 1.0 - learning_rate * weight_decay
    return tuple(
        kept * factor - learning_rate * direction
        for factor, direction in zip(factors, directions, strict=True)
    )


def descend(
    factors: Sequence[Matrix],
    product_gradient: ProductGradient,
    rule: Rule,
    learning_rates: Iterable[float],
    weight_decay: float = 0.0,
) -> Iterator[Factors]:
    """Train, and give back the factors after each update.

    Parameters
    ----------
    factors
        The network at initialization.
    product_gradient
        ∇φ, or a minibatch estimate of it, as a function of the product; called once per update.
    rule
        Gradients to directions.
    learning_rates
        η_0, η_1, …; one update each.
    weight_decay
        λ ≥ 0.

    Raises
    ------
    ValueError
        Bad factors, at the start or, where training diverges, after an update.
    """
    current = as_factors(factors)
    for learning_rate in learning_rates:
        gradients = layer_gradients(current, product_gradient(product(current)))
        directions = rule.directions(current, gradients)
        current = as_factors(step(current, directions, learning_rate, weight_decay))
        yield current
