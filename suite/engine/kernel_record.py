"""Where the kernels of R runs stand to those with which they began, measured all at once.

The initial kernels follow from the settings alone and are drawn again whenever a fleet starts or
resumes, so that no checkpoint holds them. On the device they take as much room as the kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from suite.declarations.layers import MOST_LAYERS, LayerHistory, is_measured
from suite.engine.layout import Layout


class KernelRecord:
    """The initial kernels of R runs, and what has been measured against them.

    Parameters
    ----------
    names
        The kernels from the input to the class scores, as the network lists them.
    layout
        How the kernels alone are laid out.
    initial
        The kernels, laid out so.
    histories
        What each run has measured so far; None begins with epoch 0.
    """

    def __init__(
        self,
        names: Sequence[str],
        layout: Layout,
        initial: Tensor,
        histories: Sequence[LayerHistory] | None = None,
    ) -> None:
        self.names, self.layout, self.initial = tuple(names), layout, initial
        stored = {spec.name: place for place, spec in enumerate(layout.specs)}
        self._order = [stored[name] for name in names]
        self._initial_norms = _sums(layout, initial, initial).sqrt()
        self.histories = list(histories or [LayerHistory(self.names)] * layout.runs)
        if histories is None:
            self._add(0, initial)

    def measure(self, epoch: int, last: int, theta: Tensor) -> None:
        """Measure all runs if that is due at this epoch of `last`.

        Parameters
        ----------
        theta
            The runs' parameters in a layout that begins with these kernels.
        """
        if is_measured(epoch, last):
            self._add(epoch, theta)

    def _add(self, epoch: int, theta: Tensor) -> None:
        kernels = theta[: self.layout.size]
        norms = _sums(self.layout, kernels, kernels).sqrt()
        cosines = _sums(self.layout, kernels, self.initial) / (norms * self._initial_norms)
        numbers = torch.stack([norms, cosines])[:, self._order].double().cpu()
        self.histories = [
            history.with_epoch(epoch, *numbers[:, :, run].tolist())
            for run, history in enumerate(self.histories)
        ]

    def chosen(self, runs: Sequence[int]) -> KernelRecord:
        """The record of some of the runs, by their numbers."""
        place = torch.tensor(runs, device=self.initial.device)
        layout = Layout(self.layout.specs, len(runs))
        initial = self.layout.chosen(self.initial, place)
        return KernelRecord(self.names, layout, initial, [self.histories[run] for run in runs])

    def at_end(self, run: int, epochs: Mapping[int, Tensor]) -> LayerHistory:
        """What was measured of one run, epochs included that were not due.

        Parameters
        ----------
        epochs
            The runs' parameters at such epochs.
        """
        missing = [epoch for epoch in epochs if epoch not in self.histories[run].epochs]
        if not missing:
            return self.histories[run]
        alone, place = self.chosen([run]), torch.tensor([run], device=self.initial.device)
        for epoch in missing:
            kernels = epochs[epoch][: self.layout.size]
            alone._add(epoch, self.layout.chosen(kernels, place))
        return alone.histories[0]


def kernel_record(
    names: Sequence[str], layout: Layout, starts: Sequence[Mapping[str, Tensor]], like: Tensor
) -> KernelRecord | None:
    """The record of R runs at their start; None where MLflow could not take as many layers.

    Parameters
    ----------
    names
        The kernels in the order of the network.
    layout
        Of all parameters, kernels first.
    starts
        Each run's initial parameters.
    like
        A tensor of the dtype and on the device to use.
    """
    if not 0 < len(names) <= MOST_LAYERS:
        return None
    kernels = Layout(layout.kernels, len(starts))
    return KernelRecord(names, kernels, kernels.pack(starts, like))


def _sums(layout: Layout, left: Tensor, right: Tensor) -> Tensor:
    """Σ left · right over each kernel of each run, shape (kernels, R); as exact as kernel_norm."""
    pairs = zip(
        left.split_with_sizes(layout.sizes), right.split_with_sizes(layout.sizes), strict=True
    )
    return torch.stack([(a * b).view(layout.runs, -1).sum(1) for a, b in pairs])
