"""The update rules of the minimal model against PyTorch and their own identities."""

from __future__ import annotations

import numpy as np
import pytest
from deep_linear_networks import (
    drawn,
)
from propositions import (
    squared_distance,
)

from suite.minimal_model.losses import MinibatchRegression, Regression
from suite.minimal_model.network import (
    imbalances,
)
from suite.minimal_model.updates import Adam, Euclidean, descend


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
