"""The scalar model: Figure 9, where its runs end and freeze, and its closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from propositions import (
    sign_descent_path,
)

from suite.minimal_model import experiments, laws, scalar
from suite.minimal_model.updates import Adam, Euclidean, descend


@pytest.mark.parametrize("rule", ["sgd", "decayed", "adam"])
def test_scalar_loop_is_the_matrix_dynamics_of_one_by_one_factors(rule):
    record = np.arange(0, 61)
    order = scalar.cyclic_targets([0.0, 1.0, 2.0])
    matrix_order = scalar.cyclic_targets([0.0, 1.0, 2.0])

    def gradient(function):
        return 2.0 * (function - next(matrix_order))

    start = (np.array([[1.0]]), np.array([[6.0]]))
    decay = 0.3 if rule == "decayed" else 0.0
    matrices = descend(
        start, gradient, Adam() if rule == "adam" else Euclidean(), [0.01] * 60, weight_decay=decay
    )
    expected = np.array([(1.0, 6.0), *((a[0, 0], b[0, 0]) for a, b in matrices)])
    if rule == "adam":
        path = scalar.adam_path((1.0, 6.0), order, 0.01, record)
    else:
        path = scalar.euclidean_path((1.0, 6.0), order, 0.01, record, weight_decay=decay)
    np.testing.assert_allclose(path, expected, rtol=1e-10)


def test_what_is_recorded_does_not_change_the_path():
    ends = [
        scalar.adam_path(
            (1.0, 6.0),
            scalar.drawn_targets([0, 1, 2], 3, np.random.default_rng(1)),
            0.01,
            np.array(record),
        )[-1]
        for record in ([0, 100], [0, 1, 7, 100])
    ]
    assert np.array_equal(ends[0], ends[1])


@given(st.integers(1, 10**6), st.integers(1, 500))
def test_recorded_steps_begin_at_0_and_end_at_the_last_update(total, points):
    record = scalar.recorded_steps(total, points)
    assert record[0] == 0
    assert record[-1] == total or points == 1
    assert all(earlier < later for earlier, later in pairwise(record.tolist()))


@pytest.fixture(scope="module")
def final_imbalance():
    ends = {}
    for trajectory in experiments.FIGURE_9:
        for rate in experiments.RATES:
            _, path = experiments.run_trajectory(trajectory, rate, seed=0, points=20)
            ends[trajectory.name, rate] = float(scalar.imbalance(path[-1]))
    return ends


def test_figure_9_ends_where_the_caption_says(final_imbalance):
    assert final_imbalance["gd", 0.01] == pytest.approx(-35, abs=0.5)
    assert final_imbalance["gd", 0.04] == pytest.approx(-3, abs=0.2)
    assert final_imbalance["adam_full_batch", 0.01] == pytest.approx(-27, abs=2)
    assert final_imbalance["adam_full_batch", 0.04] == pytest.approx(-27, abs=0.5)
    for name in ("sgd", "adam_minibatch"):
        for rate in experiments.RATES:
            assert abs(final_imbalance[name, rate]) < 0.01


def test_cyclic_targets_leave_slow_adam_far_from_minimum_norm(final_imbalance):
    """Why the caption's fourth panel cannot have had the cyclic targets of its second."""
    assert final_imbalance["adam_cyclic", 0.01] == pytest.approx(-8.5, abs=0.1)


def test_a_loss_with_a_half_would_not_end_gradient_descent_where_the_caption_does():
    path = scalar.euclidean_path(
        (1.0, 6.0), scalar.cyclic_targets([1.0]), 0.04, np.array([0, 20]), curvature=1.0
    )
    assert scalar.imbalance(path[-1]) == pytest.approx(-33.3, abs=0.1)


@pytest.mark.parametrize("rate", experiments.RATES)
def test_epsilon_and_loss_constant_do_not_decide_where_full_batch_adam_freezes(rate):
    ends = [
        scalar.imbalance(
            scalar.adam_path(
                (1.0, 6.0), scalar.cyclic_targets([1.0]), rate, np.array([0, 5000]), **change
            )[-1]
        )
        for change in ({}, {"epsilon": 1e-7}, {"curvature": 1.0})
    ]
    assert np.ptp(ends) < 1e-6


def test_full_batch_adam_at_a_tiny_rate_freezes_where_sign_descent_stops():
    """−5√29: with every average short beside the way, both factors fall at unit speed."""
    stop = sign_descent_path((1.0, 6.0), 1.0, np.array([0.0, 2.0]))[-1]
    assert scalar.imbalance(stop) == pytest.approx(-5 * np.sqrt(29))
    path = scalar.adam_path(
        (1.0, 6.0), scalar.cyclic_targets([1.0]), 1e-3, np.array([0, 3000]), beta1=0.0, beta2=0.0
    )
    assert scalar.imbalance(path[-1]) == pytest.approx(-5 * np.sqrt(29), abs=0.02)


def test_full_batch_adam_with_a_long_second_moment_follows_the_averaged_descent():
    record = np.array([0, 250, 500, 1000, 4000])
    path = scalar.adam_path(
        (1.0, 6.0), scalar.cyclic_targets([1.0]), 1e-3, record, beta1=0.0, beta2=1 - 1e-7
    )
    expected = laws.averaged_descent_path((1.0, 6.0), 1.0, 1e-3 * record)
    np.testing.assert_allclose(path, expected, atol=3e-3)


def test_sign_descent_refuses_starts_below_the_minimum():
    with pytest.raises(ValueError, match="start"):
        sign_descent_path((0.1, 1.0), 1.0, np.array([0.0]))


def test_sgd_forgets_at_the_rate_of_its_closed_form():
    rate, steps = 0.002, 100_000
    path = scalar.euclidean_path(
        (1.0, 6.0),
        scalar.drawn_targets([0, 1, 2], 1, np.random.default_rng(2)),
        rate,
        np.array([0, steps]),
    )
    left = scalar.imbalance(path[-1]) / -35
    expected = laws.sgd_imbalance_fraction(np.array(rate**2 * steps), 2 / 3)
    assert np.log(left) == pytest.approx(np.log(expected), rel=0.1)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_adam_on_the_minimum_forgets_at_second_order_whatever_the_batch_size(batch_size):
    """A departure from the adaptive clock: Ση² without 1/b times what follows the arrival."""
    rate = 0.004
    record = np.array([0, 20_000, 100_000])
    path = scalar.adam_path(
        (1.0, 6.0),
        scalar.drawn_targets([0, 1, 2], batch_size, np.random.default_rng(2)),
        rate,
        record,
    )
    differences = np.abs(path[1:, 1]) - np.abs(path[1:, 0])
    predicted = laws.adam_imbalance_on_minimum(float(differences[0]), np.array(rate**2 * 80_000))
    assert scalar.imbalance(path[2]) == pytest.approx(float(predicted), rel=0.2)
