"""Predictors whose memory of the function is known, and whether intervals hold it (`coverage`).

A world is (number of σw, shift of the functions, scatter over seeds, images).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from analysis.estimates.function_memory import of_predictors as function_memory
from analysis.estimates.image_error import of_predictors as memory_over_images
from analysis.estimates.predictors import Predictors

Floats = NDArray[np.float64]
FunctionWorld = tuple[int, float, float, int]

FUNCTIONS: dict[str, FunctionWorld] = {
    "functions_differ_5_σw": (5, 0.3, 0.2, 400),
    "functions_differ_2_σw_few_images": (2, 0.3, 0.2, 50),
    "functions_hardly_differ_5_σw": (5, 0.05, 0.2, 400),
    "functions_differ_seeds_hardly_5_σw": (5, 0.2, 0.02, 200),
}
FUNCTION_CLASSES = 4


def function_sample(
    rng: np.random.Generator, seeds: int, world: FunctionWorld
) -> tuple[Floats, Predictors]:
    """Predictors of images that are drawn, too, and for each value how often each class is taken.

    An image is hard with probability 1/2. On hard ones a seed takes another class with a chance of
    its own, and the more often the higher the place of σw; what all images share of a seed is that
    chance.
    """
    scales, shift, scatter, images = world
    place = np.linspace(0, 1, scales)[:, None]
    own = scatter * rng.uniform(0.2, 1.8, seeds)
    chance = np.clip(own + shift * place, 0, 1)  # of another class, on hard images, (S, G)
    hard = rng.random(images) < 0.5
    other = rng.random((scales, seeds, images)) < chance[:, :, None] * hard
    labels = rng.integers(FUNCTION_CLASSES, size=images)
    wrong = (labels + 1) % FUNCTION_CLASSES
    predicted = np.where(other, wrong, labels).astype(np.int32)
    means = np.clip(scatter + shift * place[:, 0], 0, 1)  # over seeds and hard images
    found = Predictors(place[:, 0], np.arange(seeds), predicted, labels.astype(np.int32), 4)
    return means, found


def function_memory_held(rng: np.random.Generator, seeds: int, world: FunctionWorld) -> bool | None:
    """Whether the interval holds the memory of the function, from the chances that were drawn."""
    means, found = function_sample(rng, seeds, world)
    pairs = [(a, b) for i, a in enumerate(means) for b in means[i + 1 :]]
    truth = 0.5 * float(np.mean([(a - b) ** 2 for a, b in pairs]))  # half of the images are hard
    row = function_memory(found)
    return None if math.isnan(row["low"]) else row["low"] <= truth <= row["high"]


def no_function_memory_held(
    rng: np.random.Generator, seeds: int, world: FunctionWorld
) -> bool | None:
    """Whether the interval reaches 0 where the function has no memory."""
    row = function_memory(function_sample(rng, seeds, world)[1])
    return None if math.isnan(row["low"]) else row["low"] == 0


def memory_over_images_held(
    rng: np.random.Generator, seeds: int, world: FunctionWorld
) -> bool | None:
    """Whether the interval over seeds and images holds the memory of accuracy."""
    means, found = function_sample(rng, seeds, world)
    row = memory_over_images(found, rng)
    truth = 0.5 * float(np.ptp(means))
    low, high = row["accuracy_low"], row["accuracy_high"]
    return None if math.isnan(low) else low <= truth <= high
