"""Propositions 1, 2, 3 and 6 of App. G as laws: what gradient flow keeps and contracts."""

from __future__ import annotations

import numpy as np
import pytest
from deep_linear_networks import (
    drawn,
    gram_size,
    losses,
    seeds,
    shapes,
    size,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from propositions import (
    converged_norm_squared,
    squared_distance,
)

from suite.minimal_model import laws
from suite.minimal_model.flow import gradient_flow
from suite.minimal_model.network import (
    imbalances,
    product,
)


@given(shapes, seeds, losses, st.floats(0.0, 0.8))
@settings(max_examples=15, deadline=None)
def test_flow_keeps_every_imbalance_and_decay_contracts_it_exponentially(
    widths, seed, loss, weight_decay
):
    factors, target, _ = drawn(widths, seed)
    times = [0.5, 2.0]
    path = gradient_flow(factors, loss(target), times, weight_decay=weight_decay)
    tolerance = 1e-8 * gram_size(factors)
    for time, now in zip(times, path, strict=True):
        for start, end in zip(imbalances(factors), imbalances(now), strict=True):
            expected = laws.decayed_imbalance(start, weight_decay, time)
            assert np.abs(end - expected).max() <= tolerance


def test_flow_that_keeps_imbalance_does_move_the_weights():
    factors, target, _ = drawn([3, 4, 2], 7)
    gradient = squared_distance(target)
    (end,) = gradient_flow(factors, gradient, [3.0])
    assert size(gradient(product(end))[None]) < 0.1 * size(gradient(product(factors))[None])


def thousandths(limit: int) -> st.SearchStrategy[float]:
    """Numbers of a size that squares do not lose: 1e-165 is no weight, and scipy divides by it."""
    return st.integers(-1000 * limit, 1000 * limit).map(lambda number: number / 1000)


@given(thousandths(3), thousandths(3), thousandths(2))
@settings(max_examples=15, deadline=None)
def test_conserved_imbalance_fixes_the_norm_of_the_converged_scalar_flow(a, b, target):
    if abs(a**2 - b**2) < 0.5:  # near the ridge the flow passes the saddle, and takes its time
        a = np.sqrt(b**2 + 0.5)
    start = (np.array([[a]]), np.array([[b]]))
    (end,) = gradient_flow(start, squared_distance(np.array([[target]])), [40.0])
    assert product(end)[0, 0] == pytest.approx(target, abs=1e-6)
    norm = float(end[0][0, 0] ** 2 + end[1][0, 0] ** 2)
    assert norm == pytest.approx(converged_norm_squared(a**2 - b**2, target), rel=1e-6)


@pytest.mark.parametrize(
    ("times", "weight_decay", "message"),
    [
        ([], 0.0, "times"),
        ([1.0, 1.0], 0.0, "times"),
        ([-1.0], 0.0, "times"),
        ([1.0], -1.0, "decay"),
    ],
)
def test_flow_refuses_bad_times_and_negative_decay(times, weight_decay, message):
    factors, target, _ = drawn([2, 2, 2], 0)
    with pytest.raises(ValueError, match=message):
        gradient_flow(factors, squared_distance(target), times, weight_decay=weight_decay)


def test_flow_to_infinity_is_an_error_and_not_a_result():
    factors, _, _ = drawn([2, 2, 2], 0)
    with np.errstate(all="ignore"), pytest.raises(ArithmeticError, match="stopped early"):
        gradient_flow(factors, lambda function: -10.0 * function**3, [50.0])
