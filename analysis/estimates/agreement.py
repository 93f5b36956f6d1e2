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
    parts
        What each seed and image says of the function memory, shape (G, N): how often the seed and
        another one agree there at one value, less how often they do at two, summed over the other
        seeds. The function memory is the mean over images of the sum over seeds, by G (G − 1).
    """

    pairs: Floats
    parts: Floats

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


def agreement(predictors: Predictors) -> Agreement:
    """The agreement of all predictors with one another; two values and two seeds or more."""
    scales, seeds, images = predictors.predicted.shape
    classes = predictors.classes
    runs = scales * seeds
    pairs = np.zeros((runs, runs))
    parts = np.empty((seeds, images))
    block = max(1, NUMBERS_AT_ONCE // (runs * classes))
    for start in range(0, images, block):
        part = slice(start, min(start + block, images))
        vectors = _vectors(predictors.predicted[:, :, part], classes)
        flat = vectors.reshape(runs, -1)
        pairs += flat @ flat.T
        parts[:, part] = _parts(vectors)
    return Agreement(pairs.reshape(scales, seeds, scales, seeds) / images, parts)


def _vectors(predicted: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Shape (S, G, N, K)."""
    hit = predicted[..., None] == np.arange(classes)
    vectors: NDArray[np.float32] = hit.astype(np.float32)
    vectors[predicted == GUESS] = 1 / classes
    return vectors


def _parts(vectors: NDArray[np.float32]) -> Floats:
    """See `Agreement.parts`; from vectors (S, G, N, K), by their sums over seeds and values."""
    scales = len(vectors)
    of_value = vectors.sum(1, keepdims=True)  # over seeds, (S, 1, N, K)
    of_seed = vectors.sum(0)  # over values, (G, N, K)
    within = np.einsum("sgnk,sgnk->gn", vectors, of_value - vectors).astype(np.float64)
    everything = np.einsum("gnk,gnk->gn", of_seed, of_seed.sum(0) - of_seed).astype(np.float64)
    between = everything - within
    return np.asarray(within / scales - between / (scales * (scales - 1)), dtype=np.float64)
