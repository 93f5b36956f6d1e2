"""Deep linear networks: their gradients and imbalances."""

from __future__ import annotations

import numpy as np
import pytest
from deep_linear_networks import (
    drawn,
    seeds,
    shapes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from propositions import (
    log_cosh_distance,
)

from suite.minimal_model.network import (
    as_factors,
    imbalances,
    layer_gradients,
    product,
    two_factor_imbalance,
)
from suite.minimal_model.updates import step


@given(shapes, seeds)
@settings(max_examples=30, deadline=None)
def test_layer_gradients_are_the_derivatives_of_the_loss(widths, seed):
    factors, target, generator = drawn(widths, seed)

    def loss(of):
        return float(np.log(np.cosh(product(of) - target)).sum())

    gradients = layer_gradients(factors, log_cosh_distance(target)(product(factors)))
    direction = tuple(generator.normal(size=factor.shape) for factor in factors)
    h = 1e-6
    ahead, behind = (step(factors, direction, -sign * h) for sign in (1, -1))
    slope = (loss(ahead) - loss(behind)) / (2 * h)
    along = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert slope == pytest.approx(along, rel=1e-5, abs=1e-6)


@given(st.tuples(*[st.integers(1, 5)] * 3), seeds)
def test_two_factors_counted_from_the_output_have_the_opposite_imbalance(widths, seed):
    (V, U), _, _ = drawn(list(widths), seed)
    assert np.array_equal(two_factor_imbalance(U, V), -imbalances((V, U))[0])


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([np.eye(2)], "factors: at least two, got 1"),
        ([np.eye(2), np.ones(2)], "W_2 must be a matrix"),
        ([np.eye(2), np.full((2, 2), np.nan)], "W_2 must be finite"),
        ([np.eye(2), np.eye(3)], "columns of W_2 must equal rows of W_1"),
    ],
)
def test_factors_that_cannot_be_multiplied_are_refused_in_one_line(factors, message):
    with pytest.raises(ValueError, match=message) as caught:
        as_factors(factors)
    assert "\n" not in str(caught.value)
