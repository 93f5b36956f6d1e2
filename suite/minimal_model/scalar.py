"""The scalar model c/2·(ab − y)², trained fast: two floats and a loop.

A NumPy or torch step on two numbers is all overhead; a loop over Python floats makes two to six
million updates a second, so that the 200,000 steps of Figure 9 need no compiler. That it is the
same dynamics as `updates` on 1×1 matrices is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, cycle, islice, pairwise, repeat
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Targets: TypeAlias = Iterator[float]
"""The target y of each update, without end."""

_BLOCK = 4096


def cyclic_targets(values: Sequence[float]) -> Targets:
    """Targets in a fixed order, over and over: one value is the full batch."""
    return cycle(float(value) for value in values)


def drawn_targets(
    values: Sequence[float], batch_size: int, generator: np.random.Generator
) -> Targets:
    """Means of `batch_size` values drawn with replacement, so with variance σ²/b.

    A minibatch of the squared loss over several targets has the gradient of the loss at their mean.
    The draws come in blocks of a fixed size and do not depend on how many are taken at once.
    """
    pool = np.asarray(values, dtype=np.float64)

    def block() -> list[float]:
        chosen = generator.integers(pool.size, size=(_BLOCK, batch_size), dtype=np.int8)
        means: list[float] = pool[chosen].mean(axis=1).tolist()
        return means

    return chain.from_iterable(block() for _ in repeat(None))


def recorded_steps(total: int, points: int) -> NDArray[np.int64]:
    """0, then at most `points` update counts spaced evenly in their logarithm, up to `total`."""
    spaced = np.geomspace(1, total, num=min(points, total)).round().astype(np.int64)
    return np.unique(np.concatenate([[0], spaced]))


def imbalance(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """``D = a² − b²`` of points (…, 2)."""
    return np.asarray(path[..., 0] ** 2 - path[..., 1] ** 2)


def euclidean_path(
    start: tuple[float, float],
    targets: Targets,
    learning_rate: float,
    record: NDArray[np.int64],
    *,
    weight_decay: float = 0.0,
    curvature: float = 2.0,
) -> NDArray[np.float64]:
    """(a, b) after the recorded updates of gradient descent or SGD, shape (record, 2).

    Parameters
    ----------
    start
        (a, b) at step 0.
    targets
        y of each update; the product-space gradient is g = c(ab − y).
    learning_rate
        η.
    record
        Increasing update counts, from 0.
    weight_decay
        λ, coupled: both factors are scaled by 1 − ηλ in the same update.
    curvature
        c; 2 is the loss (ab − y)².
    """
    a, b = start
    kept = 1.0 - learning_rate * weight_decay
    rate = learning_rate * curvature
    path = [start]
    for done, until in pairwise(record.tolist()):
        for y in islice(targets, until - done):
            move = rate * (a * b - y)
            a, b = kept * a - move * b, kept * b - move * a
        path.append((a, b))
    return np.asarray(path)


def adam_path(
    start: tuple[float, float],
    targets: Targets,
    learning_rate: float,
    record: NDArray[np.int64],
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    curvature: float = 2.0,
) -> NDArray[np.float64]:
    """(a, b) after the recorded updates of Adam, shape (record, 2); see `updates.Adam`."""
    a, b = start
    a_first = b_first = a_second = b_second = 0.0
    power1 = power2 = 1.0
    new1, new2 = 1.0 - beta1, 1.0 - beta2
    path = [start]
    for done, until in pairwise(record.tolist()):
        for y in islice(targets, until - done):
            g = curvature * (a * b - y)
            a_gradient, b_gradient = g * b, g * a
            a_first = beta1 * a_first + new1 * a_gradient
            b_first = beta1 * b_first + new1 * b_gradient
            a_second = beta2 * a_second + new2 * a_gradient * a_gradient
            b_second = beta2 * b_second + new2 * b_gradient * b_gradient
            power1 *= beta1
            power2 *= beta2
            rate = learning_rate / (1.0 - power1)
            correction = 1.0 - power2
            a -= rate * a_first / (sqrt(a_second / correction) + epsilon)
            b -= rate * b_first / (sqrt(b_second / correction) + epsilon)
        path.append((a, b))
    return np.asarray(path)
