"""How the leak of D grows with η and with 1/b, measured on random deep linear networks.

Each function returns sizes (geometric means over networks of Frobenius norms) to be fitted by a
power law. The orders that App. G derives are 2 for Euclidean steps, 1 under preconditioning, and
−1 in b for the batch-dependent part; they are orders as η → 0 and say nothing about signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from suite.minimal_model.laws import batch_dependent_leak
from suite.minimal_model.losses import MinibatchRegression, Regression
from suite.minimal_model.network import (
    Factors,
    Matrix,
    imbalances,
    layer_gradients,
    product,
    random_factors,
)
from suite.minimal_model.updates import Adam, Euclidean, Preconditioned, Rule, descend, step

WIDTHS = (4, 5, 3, 4)
EXAMPLES = 128
NETWORKS = 12
RATES = np.geomspace(1e-6, 1e-4, 9)
BATCH_SIZES = np.array([1, 2, 4, 8, 16, 32, 64])


def euclidean_leaks(seed: int, updates: int = 10) -> NDArray[np.float64]:
    """‖ΔD‖ after `updates` minibatch SGD steps, at each of `RATES`; order 2."""
    return _leaks(seed, updates, lambda _generator: Euclidean())


def adam_leaks(seed: int, updates: int = 10) -> NDArray[np.float64]:
    """‖ΔD‖ after `updates` minibatch Adam steps, at each of `RATES`; order 1."""
    return _leaks(seed, updates, lambda _generator: Adam())


def preconditioned_leaks(seed: int, updates: int = 10) -> NDArray[np.float64]:
    """‖ΔD‖ under fixed diagonal preconditioners with entries in [½, 2]; order 1."""
    return _leaks(seed, updates, _random_diagonal)


def separate_noise_leaks(seed: int) -> NDArray[np.float64]:
    """‖ΔD‖ of one Euclidean step whose layers draw separate minibatches; order 1.

    The control: without one product-space gradient for all layers, the first order stays.
    """

    def leaks(factors: Factors, data: Regression, generator: np.random.Generator) -> list[float]:
        draws = data.draw(product(factors), 1, len(factors), generator)
        separate = tuple(layer_gradients(factors, draw)[j] for j, draw in enumerate(draws))
        return [_moved(factors, step(factors, separate, float(rate))) for rate in RATES]

    return _typical(leaks(*problem) for problem in _problems(seed))


def batch_dependent_parts(seed: int, draws: int = 2000) -> NDArray[np.float64]:
    """Norm of the batch-dependent part of the mean leak over η², at each of `BATCH_SIZES`."""

    def parts(factors: Factors, data: Regression, generator: np.random.Generator) -> list[float]:
        function = product(factors)
        full = data(function)
        noises = (data.draw(function, int(b), draws, generator) - full for b in BATCH_SIZES)
        return [_norm(batch_dependent_leak(factors, noise, 1.0)) for noise in noises]

    return _typical(parts(*problem) for problem in _problems(seed))


def _leaks(
    seed: int, updates: int, rule: Callable[[np.random.Generator], Rule]
) -> NDArray[np.float64]:
    def leaks(factors: Factors, data: Regression, generator: np.random.Generator) -> list[float]:
        batches, preconditioner = (int(word) for word in generator.integers(2**32, size=2))
        sizes = []
        for rate in RATES:  # the same batches and preconditioner at every rate
            *_, last = descend(
                factors,
                MinibatchRegression(data, 1, np.random.default_rng(batches)),
                rule(np.random.default_rng(preconditioner)),
                [float(rate)] * updates,
            )
            sizes.append(_moved(factors, last))
        return sizes

    return _typical(leaks(*problem) for problem in _problems(seed))


def _random_diagonal(generator: np.random.Generator) -> Rule:
    def scaling(shape: tuple[int, int]) -> Callable[[Matrix, Matrix], Matrix]:
        scales = 2.0 ** generator.uniform(-1.0, 1.0, size=shape)
        return lambda _factor, gradient: scales * gradient

    return Preconditioned(tuple(scaling((fan_out, fan_in)) for fan_in, fan_out in pairwise(WIDTHS)))


def _problems(seed: int) -> Iterator[tuple[Factors, Regression, np.random.Generator]]:
    for generator in np.random.default_rng(seed).spawn(NETWORKS):
        inputs = generator.normal(size=(WIDTHS[0], EXAMPLES))
        outputs = generator.normal(size=(WIDTHS[-1], EXAMPLES))
        yield random_factors(WIDTHS, 1.0, generator), Regression(inputs, outputs), generator


def _moved(before: Factors, after: Factors) -> float:
    pairs = zip(imbalances(after), imbalances(before), strict=True)
    return _norm([new - old for new, old in pairs])


def _norm(matrices: Sequence[Matrix]) -> float:
    return float(np.sqrt(sum(float((matrix**2).sum()) for matrix in matrices)))


def _typical(sizes: Iterator[list[float]]) -> NDArray[np.float64]:
    return np.asarray(np.exp(np.mean(np.log(list(sizes)), axis=0)))
