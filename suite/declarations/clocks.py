"""The learning rate of every step and the three forgetting clocks, exactly.

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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite.declarations.config import RunConfig


@dataclass(frozen=True)
class Clocks:
    """The three clocks at the end of each epoch; each an array of shape (epochs,)."""

    sgd: NDArray[np.float64]
    l2: NDArray[np.float64]
    adapt: NDArray[np.float64]


def steps_per_epoch(config: RunConfig, train_images: int) -> int:
    """Optimizer steps in one pass; the last, partial batch is kept.

    Parameters
    ----------
    config
        The run.
    train_images
        Images in its training split, at least 1.
    """
    return -(-train_images // config.batch_size)


def learning_rates(config: RunConfig, train_images: int) -> NDArray[np.float64]:
    """The rate η_k of every step of the run, shape (epochs × steps per epoch,).

    The cosine schedule is η0[α + (1−α)½(1 + cos(πk/K))] with K the total number of steps
    (Das et al. 2026, App. A). Early stopping cuts the run short without changing it. The W steps of
    a warm-up come first, k = 0 … W − 1 with the rates η0(k + 1)/W, and the schedule runs over the
    other K − W: Keras's `CosineDecay` with `warmup_steps`, but a step ahead while the rate rises,
    so that no step has the rate 0 and every clock moves in every epoch.
    """
    steps = steps_per_epoch(config, train_images)
    warm = config.warmup_epochs * steps
    rising = np.arange(1, warm + 1) / max(warm, 1)
    after = _schedule(config, config.epochs * steps - warm)
    return config.learning_rate * np.concatenate([rising, after])


def _schedule(config: RunConfig, steps: int) -> NDArray[np.float64]:
    """The rates of the steps after a warm-up, as parts of η0."""
    if config.schedule == "constant":
        return np.ones(steps)
    alpha = config.cosine_alpha
    wave = 0.5 * (1.0 + np.cos(np.pi * np.arange(steps) / steps))
    return alpha + (1.0 - alpha) * wave


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
