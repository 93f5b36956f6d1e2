"""One optimizer update of all runs of a fleet, and the scores by which an epoch is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.data import augmentation
from suite.engine.evaluation import DTYPES, autocast, scaled
from suite.engine.layout import Layout
from suite.engine.optimizers import Optimizer
from suite.models.specs import Network

if TYPE_CHECKING:
    from suite.data.splits import Split
    from suite.declarations.config import RunConfig

# Data sets up to so many values are kept as floating-point numbers: no conversion in each step.
FLOAT_DATA_LIMIT = 2**24
# Scores that are kept before they are counted.
SCORES_KEPT = 2**20


class TrainingStep:
    """Gathers a batch of each run, and takes one step down each run's own loss.

    Parameters
    ----------
    config
        One of the runs, for what they have in common.
    network
        Their architecture.
    layout, theta
        Their parameters, which the steps update in place.
    buffers
        Name to tensor of shape (R, …), likewise.
    train
        The training images and labels, on the device of theta.
    optimizer
        The update rule, bound to theta.
    """

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        layout: Layout,
        theta: Tensor,
        buffers: dict[str, Tensor],
        train: Split,
        optimizer: Optimizer,
    ) -> None:
        self.config, self.network, self.buffers = config, network, buffers
        self.optimizer, self.labels, self.device = optimizer, train.labels, theta.device
        self.layout, self.theta = layout, theta
        self.dtype = DTYPES[config.precision]
        small = train.images.numel() <= FLOAT_DATA_LIMIT
        self.images = scaled(train.images, self.dtype) if small else train.images
        # Leaves that share theta's memory: a gradient for each, and none is gathered into one.
        self.parameters = {
            name: view.detach().requires_grad_() for name, view in layout.views(theta).items()
        }

    def __call__(
        self, index: Tensor, draws: augmentation.Draws | None, rate: float
    ) -> tuple[Tensor, Tensor]:
        """Update every run.

        Parameters
        ----------
        index
            Which training image each place of the batch holds: int64, shape (batch, R).
        draws
            Their augmentation, if there is one.
        rate
            η_k of the first run.

        Returns
        -------
        scores, labels
            Class scores before the update, shape (batch, R, classes), and what they should be,
            shape (batch, R).
        """
        self.optimizer.prepare(rate)
        return self.compute(index, draws)

    def compute(self, index: Tensor, draws: augmentation.Draws | None) -> tuple[Tensor, Tensor]:
        """All of a step on tensors, which a graph can hold; the optimizer has been prepared."""
        labels = self.labels[index]
        with autocast(self.config, self.device):
            scores = self.network.logits(
                self.parameters, self.buffers, self.inputs(index, draws), training=True
            )
        scores = scores.to(self.dtype)
        loss = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="sum")
        leaves = list(self.parameters.values())
        gradients = torch.autograd.grad(
            loss / len(index), leaves, allow_unused=True, materialize_grads=True
        )
        self.optimizer.update([_like(*pair) for pair in zip(gradients, leaves, strict=True)])
        return scores.detach(), labels

    def state(self) -> list[Tensor]:
        """All tensors that a step changes: parameters, buffers, the optimizer's moments."""
        return [self.theta, *self.buffers.values(), *self.optimizer.moments.values()]

    def inputs(self, index: Tensor, draws: augmentation.Draws | None) -> Tensor:
        """The images of one batch, in [0, 1], shape (batch, R, channels, height, width)."""
        if draws is not None:
            return scaled(augmentation.gather(self.images, index, draws), self.dtype)
        chosen = self.images.index_select(0, index.flatten())
        return torch.unflatten(scaled(chosen, self.dtype), 0, index.shape)


def _like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient in the parameter's memory order, which fused updates take for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


class Tally:
    """Each run's summed loss and correct answers over the batches of an epoch.

    Scores are kept for many steps and counted at once: small operations in every step cost more
    than the counting.
    """

    def __init__(self, runs: int, device: torch.device) -> None:
        # In float64: float32 would blur the accuracy.
        self.loss = torch.zeros(runs, dtype=torch.float64, device=device)
        self.correct = torch.zeros_like(self.loss)
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._kept = 0

    def add(self, scores: Tensor, labels: Tensor) -> None:
        """Take in one batch: shapes (batch, R, classes) and (batch, R)."""
        self._scores.append(scores)
        self._labels.append(labels)
        self._kept += scores.numel()
        if self._kept >= SCORES_KEPT:
            self.count()

    def count(self) -> None:
        """Count what is kept."""
        if not self._scores:
            return
        scores, labels = torch.cat(self._scores), torch.cat(self._labels)
        losses = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
        self.loss += losses.view_as(labels).sum(0, dtype=torch.float64)
        self.correct += (scores.argmax(-1) == labels).sum(0)
        self._scores, self._labels, self._kept = [], [], 0
