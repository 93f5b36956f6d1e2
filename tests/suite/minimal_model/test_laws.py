"""Propositions 4, 5, 7 and 8 of App. G as laws: exact identities of one step, and its leak."""

from __future__ import annotations

import numpy as np
import pytest
from deep_linear_networks import (
    assert_equal_to_round_off,
    decays,
    drawn,
    gram_size,
    rates,
    seeds,
    shapes,
    size,
)
from hypothesis import given
from hypothesis import strategies as st
from propositions import (
    preconditioned_leak,
    two_factor_next_imbalance,
)

from suite.minimal_model import laws, orders
from suite.minimal_model.losses import Regression
from suite.minimal_model.network import (
    imbalances,
    layer_gradients,
    product,
    random_factors,
    two_factor_imbalance,
)
from suite.minimal_model.updates import Preconditioned, step


@given(st.tuples(*[st.integers(1, 6)] * 3), seeds, rates, decays)
def test_two_factor_step_with_coupled_decay_obeys_its_identity(widths, seed, rate, decay):
    factors, G, _ = drawn(list(widths), seed)
    V, U = factors
    gradients = layer_gradients(factors, G)
    V_next, U_next = step(factors, gradients, rate, decay)
    predicted = two_factor_next_imbalance(U, V, G, rate, decay)
    scale = gram_size(factors) + rate**2 * gram_size(gradients)
    assert_equal_to_round_off([two_factor_imbalance(U_next, V_next)], [predicted], scale)


@given(shapes, seeds, rates)
def test_deep_euclidean_step_leaks_exactly_at_second_order(widths, seed, rate):
    factors, G, _ = drawn(widths, seed)
    gradients = layer_gradients(factors, G)
    after = imbalances(step(factors, gradients, rate))
    leaked = laws.euclidean_leak(factors, G, rate)
    predicted = [old + leak for old, leak in zip(imbalances(factors), leaked, strict=True)]
    scale = gram_size(factors) + rate**2 * gram_size(gradients)
    assert_equal_to_round_off(after, predicted, scale)


@given(shapes, seeds, rates)
def test_any_directions_move_imbalance_by_a_first_and_a_second_order_term(widths, seed, rate):
    factors, _, generator = drawn(widths, seed)
    directions = tuple(generator.normal(size=factor.shape) for factor in factors)
    first, second = preconditioned_leak(factors, directions, rate)
    predicted = [
        old + linear + square
        for old, linear, square in zip(imbalances(factors), first, second, strict=True)
    ]
    after = imbalances(step(factors, directions, rate))
    scale = gram_size(factors) + (rate + rate**2) * gram_size(directions)
    assert_equal_to_round_off(after, predicted, scale)


@given(shapes, seeds)
def test_first_order_term_vanishes_for_the_gradient_and_not_for_its_signs(widths, seed):
    factors, G, _ = drawn(widths, seed)
    gradients = layer_gradients(factors, G)
    first, _ = preconditioned_leak(factors, gradients, 1.0)
    bound = np.sqrt(gram_size(factors) * gram_size(gradients))
    assert_equal_to_round_off(first, [np.zeros_like(term) for term in first], bound)


def test_sign_directions_move_imbalance_at_first_order():
    factors, G, _ = drawn([3, 4, 2], 3)
    signs = tuple(np.sign(gradient) for gradient in layer_gradients(factors, G))
    first, _ = preconditioned_leak(factors, signs, 1.0)
    assert size(first) > 0.1


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), rates, rates, rates)
def test_scalar_preconditioned_step_obeys_the_papers_scalar_identity(a, b, g, eta, alpha, beta):
    factors = (np.array([[a]]), np.array([[b]]))
    rule = Preconditioned((lambda _W, H: alpha * H, lambda _W, H: beta * H))
    directions = rule.directions(factors, layer_gradients(factors, np.array([[g]])))
    a_next, b_next = (float(f[0, 0]) for f in step(factors, directions, eta))
    first = -2 * eta * g * a * b * (alpha - beta)
    second = eta**2 * g**2 * (alpha**2 * b**2 - beta**2 * a**2)
    assert a_next**2 - b_next**2 == pytest.approx(a**2 - b**2 + first + second, abs=1e-13)


def test_finite_steps_may_lengthen_memory_and_create_it():
    """No monotone forgetting: the second-order leak has no fixed sign."""
    one, two = np.array([[1.0]]), np.array([[2.0]])
    assert two_factor_imbalance(two, one)[0, 0] == 3.0
    assert two_factor_next_imbalance(two, one, two, 1.0)[0, 0] == -9.0
    U, G = np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])
    assert two_factor_imbalance(U, one)[0, 0] == 0.0
    assert two_factor_next_imbalance(U, one, G, 0.5)[0, 0] == 0.25


def test_preconditioned_steps_may_lengthen_memory():
    """Beyond the minimum (g > 0) and towards it (g < 0), the same signs move D opposite ways."""
    factors = (np.array([[1.0]]), np.array([[6.0]]))
    moves = []
    for g in (1.0, -1.0):
        signs = tuple(np.sign(H) for H in layer_gradients(factors, np.array([[g]])))
        before, after = (imbalances(at)[0][0, 0] for at in (factors, step(factors, signs, 0.01)))
        moves.append(abs(after) - abs(before))
    assert moves[0] < 0 < moves[1]


def slope(at, sizes):
    return float(np.polyfit(np.log(at), np.log(sizes), 1)[0])


@pytest.mark.parametrize(
    ("leaks", "order"),
    [
        (orders.euclidean_leaks, 2),
        (orders.adam_leaks, 1),
        (orders.preconditioned_leaks, 1),
        (orders.separate_noise_leaks, 1),
    ],
)
def test_leak_grows_with_the_learning_rate_at_its_order(leaks, order):
    assert slope(orders.RATES, leaks(5)) == pytest.approx(order, abs=0.01)


def test_batch_dependent_part_of_the_leak_falls_as_one_over_the_batch_size():
    sizes = orders.batch_dependent_parts(5, draws=800)
    assert slope(orders.BATCH_SIZES, sizes) == pytest.approx(-1, abs=0.03)


def test_mean_leak_of_minibatch_steps_is_the_full_batch_leak_and_the_batch_dependent_part():
    """The two lines of the expected leak, against steps really taken."""
    generator = np.random.default_rng(11)
    factors = random_factors([3, 4, 2], 1.0, generator)
    data = Regression(generator.normal(size=(3, 50)), generator.normal(size=(2, 50)))
    function, rate = product(factors), 0.1
    draws = data.draw(function, 2, 40_000, generator)
    stepped = step(factors, layer_gradients(factors, draws), rate)
    moved = imbalances(stepped)[0] - imbalances(factors)[0]
    noise = draws - data(function)
    predicted = (
        laws.euclidean_leak(factors, data(function), rate)[0]
        + laws.batch_dependent_leak(factors, noise, rate)[0]
    )
    error = moved.std(axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(moved.mean(axis=0) - predicted) <= 4 * error)
    full_only = laws.euclidean_leak(factors, data(function), rate)[0]
    assert np.any(np.abs(moved.mean(axis=0) - full_only) > 10 * error)


def test_minibatch_gradients_are_unbiased_with_variance_over_the_batch_size():
    generator = np.random.default_rng(3)
    data = Regression(generator.normal(size=(3, 40)), generator.normal(size=(2, 40)))
    function = generator.normal(size=(2, 3))
    variances = []
    for batch_size in (1, 8):
        draws = data.draw(function, batch_size, 20_000, generator)
        error = draws.std(axis=0) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - data(function)) <= 4.5 * error)
        variances.append(draws.var(axis=0).sum())
    assert variances[0] / variances[1] == pytest.approx(8, rel=0.05)
