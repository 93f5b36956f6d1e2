"""The three forgetting clocks, exactly.

Das et al. 2026, §4.1, measure forgetting in accumulated regularization instead of epochs:

- ``T_SGD = (1/b) Σ_{k<K} η_k²``, the minibatch finite-step effect;
- ``T_L2 = λ Σ_{k<K} η_k``, explicit norm decay;
- ``T_adapt = Σ_{k<K} η_k``, adaptive preconditioning.

The sums run over the true rates of every step, warm-up and cosine decay included.
`constant_rate=True` gives the paper's own arithmetic instead, which takes η_k = η0 throughout
(§4.2, "numerical check").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suite.declarations.schedule import learning_rates, steps_per_epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite.declarations.config import RunConfig


@dataclass(frozen=True)
class Clocks:
    """The three clocks at the end of each epoch; each an array of shape (epochs,)."""

    sgd: NDArray[np.float64]
    l2: NDArray[np.float64]
    adapt: NDArray[np.float64]


def clocks(config: RunConfig, train_images: int, *, constant_rate: bool = False) -> Clocks:
    """The three clocks at the end of epochs 1, 2, …, `config.epochs`.

    Parameters
    ----------
    config
        The run. λ of T_L2 is `kernel_l2`, the coupled strength, as in the paper; the decoupled
        decay of AdamW and Muon is `weight_decay` and does not enter.
    train_images
        Images in its training split.
    constant_rate
        The paper's arithmetic: η_k = η0 whatever the schedule.

    Returns
    -------
    Clocks
        Arrays of shape (epochs,). T_SGD and T_adapt are in units of the loss's inverse
        curvature (squared for T_SGD), T_L2 is a pure number.
    """
    steps = steps_per_epoch(config, train_images)
    rates = learning_rates(config, train_images)
    if constant_rate:
        rates = np.full_like(rates, config.learning_rate)
    by_epoch = rates.reshape(config.epochs, steps)
    adapt = np.cumsum(by_epoch.sum(axis=1))
    sgd = np.cumsum((by_epoch**2).sum(axis=1)) / config.batch_size
    return Clocks(sgd=sgd, l2=config.kernel_l2 * adapt, adapt=adapt)
