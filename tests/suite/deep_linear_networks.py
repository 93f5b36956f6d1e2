"""Random deep linear networks, and what their tests draw and compare."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from propositions import (
    log_cosh_distance,
    squared_distance,
)

from suite.minimal_model.network import (
    random_factors,
)

seeds = st.integers(0, 2**32 - 1)


shapes = st.lists(st.integers(1, 5), min_size=3, max_size=6)


rates = st.floats(1e-6, 0.5)


decays = st.floats(0.0, 1.0)


losses = st.sampled_from([squared_distance, log_cosh_distance])


def drawn(widths, seed, sigma_w=1.0):
    """Random factors, a random product-space gradient, and their generator."""
    generator = np.random.default_rng(seed)
    factors = random_factors(widths, sigma_w, generator)
    return factors, generator.normal(size=(widths[-1], widths[0])), generator


def size(matrices):
    return max(float(np.abs(matrix).max()) for matrix in matrices)


def assert_equal_to_round_off(measured, predicted, *scales):
    """Equal within 200 units in the last place of the largest Gram matrix that was cancelled."""
    bound = 200 * np.finfo(float).eps * (1e-300 + sum(scales))
    for one, other in zip(measured, predicted, strict=True):
        assert np.abs(one - other).max() <= bound


def gram_size(factors):
    return max(float((factor**2).sum()) for factor in factors)
