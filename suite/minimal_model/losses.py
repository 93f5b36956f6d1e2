"""Losses of the product: each a function from the product F to ∇φ(F).

The propositions hold for any continuously differentiable φ, so a loss enters the model only through
this gradient. A minibatch loss draws a new batch at each call: the gradient it returns is the one
estimate that all layers share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from suite.minimal_model.network import Matrix, transposed

ProductGradient: TypeAlias = Callable[[Matrix], Matrix]


@dataclass(frozen=True)
class Regression:
    """Mean squared error of a linear network on data, ``‖F X − Y‖²/(2n)``.

    Attributes
    ----------
    inputs
        X, shape (d_0, n): one column per example.
    outputs
        Y, shape (d_L, n).
    """

    inputs: Matrix
    outputs: Matrix

    def __post_init__(self) -> None:
        if self.inputs.shape[-1] != self.outputs.shape[-1]:
            raise ValueError(
                f"outputs: as many columns as inputs ({self.inputs.shape[-1]}), got "
                f"{self.outputs.shape[-1]}; give one column per example to both"
            )

    def __call__(self, function: Matrix) -> Matrix:
        """The full gradient ``(F X − Y) Xᵀ / n``, shape (d_L, d_0)."""
        residual = function @ self.inputs - self.outputs
        return np.asarray(residual @ transposed(self.inputs) / self.inputs.shape[-1])

    def draw(
        self, function: Matrix, batch_size: int, count: int, generator: np.random.Generator
    ) -> Matrix:
        """Gradients over `count` minibatches drawn with replacement, shape (count, d_L, d_0)."""
        chosen = generator.integers(self.inputs.shape[-1], size=(count, batch_size))
        inputs = np.moveaxis(self.inputs[:, chosen], 0, 1)
        outputs = np.moveaxis(self.outputs[:, chosen], 0, 1)
        residual = function @ inputs - outputs
        return np.asarray(residual @ transposed(inputs) / batch_size)


@dataclass
class MinibatchRegression:
    """The gradient of `Regression` over a new minibatch at each call.

    Attributes
    ----------
    data
        The full problem.
    batch_size
        b ≥ 1, examples per update, drawn with replacement: the variance of G is then ∝ 1/b.
    generator
        Source of the draws.
    """

    data: Regression
    batch_size: int
    generator: np.random.Generator = field(repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: at least 1, got {self.batch_size}; give 1 or more")

    def __call__(self, function: Matrix) -> Matrix:
        """One minibatch estimate of the gradient at `function`, shape (d_L, d_0)."""
        draws = self.data.draw(function, self.batch_size, 1, self.generator)
        return np.asarray(draws[0], dtype=np.float64)
