"""How many steps a run has, and the learning rate of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite.declarations.config import RunConfig


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
