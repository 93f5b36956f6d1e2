"""How often predictors agree on a test image: over pairs of runs, and image by image.

Each predictor is one vector a test image: 1 at the class it takes, or 1/K everywhere for a guess.
Two of them agree with the probability that is the product of their vectors. Everything here is sums
of such products, which need no loop over pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.estimates.predictors import GUESS, Predictors

Floats = NDArray[np.float64]
NUMBERS_AT_ONCE = 2**24  # of a block's vectors: 64 MB in single precision


@dataclass(frozen=True, eq=False)
class Agreement:
    """How often the predictors of one recipe agree.

    Attributes
    ----------
    pairs
        Share of the images on which two runs agree, shape (S, G, S, G).
    by_image
        The part of each image in the function memory, shape (N,): how often two seeds of one value
        agree there, less how often two seeds of different values do. NaN with one seed or value.
    """

    pairs: Floats
    by_image: Floats

    @property
    def other_seeds(self) -> Floats:
        """Mean over pairs of different seeds, by value and value, shape (S, S)."""
        seeds = self.pairs.shape[1]
        whole = np.einsum("agbh->ab", self.pairs) - np.einsum("agbg->ab", self.pairs)
        return np.asarray(whole / (seeds * (seeds - 1)), dtype=np.float64)

    @property
    def same_seed(self) -> Floats:
        """Mean over runs of the same seed, by value and value, shape (S, S)."""
        return np.asarray(np.einsum("agbg->ab", self.pairs) / self.pairs.shape[1])

    @property
    def kernel(self) -> Floats:
        """What each pair of seeds says of the function memory, shape (G, G); symmetric.

        How often the two agree at one value, less how often they do at two. The mean over pairs of
        different seeds is the function memory.
        """
        scales = self.pairs.shape[0]
        within = np.einsum("agah->gh", self.pairs)
        between = np.einsum("agbh->gh", self.pairs) - within
        found = within / scales - between / (scales * (scales - 1))
        return np.asarray((found + found.T) / 2, dtype=np.float64)


def agreement(predictors: Predictors) -> Agreement:
    """The agreement of all predictors with one another; two values and two seeds or more."""
    scales, seeds, images = predictors.predicted.shape
    classes = predictors.classes
    runs = scales * seeds
    pairs = np.zeros((runs, runs))
    by_image = np.empty(images)
    block = max(1, NUMBERS_AT_ONCE // (runs * classes))
    for start in range(0, images, block):
        part = slice(start, min(start + block, images))
        vectors = _vectors(predictors.predicted[:, :, part], classes)
        flat = vectors.reshape(runs, -1)
        pairs += flat @ flat.T
        by_image[part] = _by_image(vectors)
    return Agreement(pairs.reshape(scales, seeds, scales, seeds) / images, by_image)


def _vectors(predicted: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Shape (S, G, N, K)."""
    hit = predicted[..., None] == np.arange(classes)
    vectors: NDArray[np.float32] = hit.astype(np.float32)
    vectors[predicted == GUESS] = 1 / classes
    return vectors


def _by_image(vectors: NDArray[np.float32]) -> Floats:
    """The part of each image in the function memory, by the counts of classes over seeds."""
    scales, seeds = vectors.shape[:2]
    counts = vectors.sum(1, dtype=np.float64)  # of each value, (S, N, K)
    every = vectors.sum(0, dtype=np.float64)  # of each seed, (G, N, K)
    of_seeds = seeds * (seeds - 1)
    own = np.einsum("sgnk,sgnk->sn", vectors, vectors).astype(np.float64)
    within = (np.einsum("snk,snk->sn", counts, counts) - own) / of_seeds
    whole = counts.sum(0)
    everything = np.einsum("nk,nk->n", whole, whole) - np.einsum("gnk,gnk->n", every, every)
    between = everything / of_seeds - within.sum(0)
    return np.asarray(within.mean(0) - between / (scales * (scales - 1)), dtype=np.float64)
