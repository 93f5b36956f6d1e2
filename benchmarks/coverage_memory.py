"""Accuracies whose memory is known, in kind and unkind worlds (`coverage`).

A world is (number of σw, shape of accuracy, noise by σw, part of the runs that is missing).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
World = tuple[int, str, str, float]

SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "flat": np.zeros_like,
    "falls": lambda place: -place,
    "middle": lambda place: -((2 * place - 1) ** 2),
    "late": lambda place: -(place**8),
}
NOISE: dict[str, Callable[[Floats], Floats]] = {
    "equal": np.ones_like,
    "grows": lambda place: 0.2 * 10**place,
    "middle": lambda place: 0.3 + 2 * np.exp(-(((place - 0.5) / 0.15) ** 2)),
}
MEMORY: dict[str, World] = {
    "equal_noise_5_σw": (5, "falls", "equal", 0.0),
    "equal_noise_25_σw": (25, "falls", "equal", 0.0),
    "noise_grows_10x_5_σw": (5, "falls", "grows", 0.0),
    "noise_grows_10x_25_σw": (25, "late", "grows", 0.0),
    "noise_largest_in_the_middle_25_σw": (25, "falls", "middle", 0.0),
    "best_in_the_middle_5_σw": (5, "middle", "equal", 0.0),
    "no_memory_25_σw": (25, "flat", "grows", 0.0),
    "a_third_missing_unlike_seeds": (25, "falls", "grows", 0.3),
}


def memory_sample(
    rng: np.random.Generator, seeds: int, world: World, size: float = 3.0
) -> tuple[Floats, Floats]:
    """σw and runs (S, G); memory is `size` standard errors of a mean over 10 seeds."""
    scales, shape, noise, missing = world
    place = np.linspace(0, 1, scales)
    deviations = NOISE[noise](place)
    means = SHAPES[shape](place) * size * deviations.max() / math.sqrt(10)
    values = means[:, None] + deviations[:, None] * rng.standard_normal((scales, seeds))
    values += (3.0 if missing else 1.0) * rng.standard_normal(seeds)
    values[rng.random(values.shape) < missing] = np.nan
    return means, values
