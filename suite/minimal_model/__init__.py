"""The minimal linear model of forgetting (Das et al. 2026, App. G).

Two-factor and deep linear networks keep, under gradient flow, a quantity fixed by their
initialization: the imbalance of adjacent factors. Initialization memory is then a conserved charge,
and training can forget in three ways only, each with its own clock:

- explicit norm decay contracts the imbalance, on ``T_L2 = λ Σ η_k``;
- finite steps leak it at second order, and the batch-dependent part of the leak accumulates on
  ``T_SGD = (1/b) Σ η_k²``;
- a preconditioner breaks the cancellation itself, and moves it at first order, on
  ``T_adapt = Σ η_k``.

Rooms
-----
`network`
    Factors, their product, the layers' gradients from one product-space gradient, imbalances.
`losses`
    Losses of the product and their gradients, over the full batch and over minibatches.
`flow`
    Gradient flow, by an ODE solver.
`updates`
    Gradient descent, SGD, coupled weight decay, Adam and general preconditioners.
`laws`
    What propositions say about D, as functions to hold a simulation against.
`scalar`, `experiments`
    The scalar model (ab − 1)², run fast, and the experiments of Figure 9 and of the clocks.
`orders`
    How the leak grows with the learning rate and the batch size, measured.

What the model does not claim
-----------------------------
The propositions are about linear networks and about orders in the learning rate. They are no
theorem for networks with BatchNorm or with nonlinearities, they do not say that D falls
monotonically (neither a finite step nor a preconditioner has a fixed sign), and they do not
determine test accuracy.
"""

from __future__ import annotations

from suite.minimal_model.flow import gradient_flow
from suite.minimal_model.network import (
    imbalances,
    layer_gradients,
    product,
    random_factors,
    two_factor_imbalance,
)
from suite.minimal_model.updates import Adam, Euclidean, Preconditioned, descend, step

__all__ = [
    "Adam",
    "Euclidean",
    "Preconditioned",
    "descend",
    "gradient_flow",
    "imbalances",
    "layer_gradients",
    "product",
    "random_factors",
    "step",
    "two_factor_imbalance",
]
