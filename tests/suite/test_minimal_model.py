"""The propositions of App. G as laws, for random depths, shapes, seeds and rates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from propositions import (
    converged_norm_squared,
    log_cosh_distance,
    preconditioned_leak,
    sign_descent_path,
    squared_distance,
    two_factor_next_imbalance,
)

from suite.minimal_model import experiments, laws, orders, scalar
from suite.minimal_model.flow import gradient_flow
from suite.minimal_model.losses import MinibatchRegression, Regression
from suite.minimal_model.network import (
    as_factors,
    imbalances,
    layer_gradients,
    product,
    random_factors,
    two_factor_imbalance,
)
from suite.minimal_model.updates import Adam, Euclidean, Preconditioned, descend, step

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


# --- the network itself -----------------------------------------------------------------------


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


# --- Propositions 1, 2, 3 and 6: flow ---------------------------------------------------------


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


# --- Propositions 4, 5, 7 and 8: exact identities of one step ---------------------------------


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


# --- orders ------------------------------------------------------------------------------------


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


# --- rules -------------------------------------------------------------------------------------


def test_adam_is_torchs_adam():
    torch = pytest.importorskip("torch")
    factors, target, _ = drawn([3, 4, 2], 21)
    weights = [torch.tensor(factor, requires_grad=True) for factor in factors]
    optimizer = torch.optim.Adam(weights, lr=0.02)
    *_, ours = descend(factors, squared_distance(target), Adam(), [0.02] * 50)
    for _ in range(50):
        optimizer.zero_grad()
        ((weights[1] @ weights[0] - torch.tensor(target)) ** 2).sum().backward()
        optimizer.step()
    for mine, theirs in zip(ours, weights, strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_sgd_on_minibatches_and_coupled_decay_reduce_imbalance_by_the_decay():
    factors, _, generator = drawn([3, 4, 2], 4)
    data = Regression(generator.normal(size=(3, 50)), generator.normal(size=(2, 50)))
    batches = MinibatchRegression(data, 5, generator)
    *_, last = descend(factors, batches, Euclidean(), [1e-3] * 1000, weight_decay=0.5)
    kept = (1 - 1e-3 * 0.5) ** 2000
    np.testing.assert_allclose(imbalances(last)[0], kept * imbalances(factors)[0], atol=0.02)


def test_diverged_training_is_an_error_that_says_what_to_do():
    factors, target, _ = drawn([3, 4, 2], 4, sigma_w=3.0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="lower the learning rate"):
        list(descend(factors, squared_distance(target), Euclidean(), [5.0] * 50))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: MinibatchRegression(d, 0, np.random.default_rng(0)), "batch_size"),
        (lambda d: Regression(d.inputs, d.outputs[:, 1:]), "outputs"),
    ],
)
def test_bad_regression_problems_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(Regression(np.ones((2, 4)), np.ones((1, 4))))


# --- the scalar model --------------------------------------------------------------------------


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
