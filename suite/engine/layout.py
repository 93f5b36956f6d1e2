"""R runs' parameters in one flat tensor, so that an update is a handful of operations.

The flat tensor holds one block per parameter, in which the R runs follow each other; a block seen
as (R, …) is a view. Kernels stand before all else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from suite.models.specs import ParameterSpec


class Layout:
    """Where each parameter of each run stands.

    Parameters
    ----------
    specs
        The parameters in their order in the flat tensor, kernels first.
    runs
        R, the number of runs.
    """

    def __init__(self, specs: Sequence[ParameterSpec], runs: int) -> None:
        self.specs, self.runs = tuple(specs), runs
        self.sizes = [runs * spec.size for spec in self.specs]
        self.size = sum(self.sizes)
        self.size_of_one = sum(spec.size for spec in self.specs)
        self.kernels = [spec for spec in self.specs if spec.kind == "kernel"]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Name to tensor of shape (R, …); differentiable with respect to `flat`."""
        blocks = flat.split_with_sizes(self.sizes)
        return {
            spec.name: _shaped(block, self.runs, spec)
            for spec, block in zip(self.specs, blocks, strict=True)
        }

    def pack(self, runs: Sequence[Mapping[str, Tensor]], like: Tensor) -> Tensor:
        """The flat tensor of R runs' parameters (name to tensor of `spec.shape`)."""
        flat = torch.empty(self.size, dtype=like.dtype, device=like.device)
        for name, view in self.views(flat).items():
            for run, tensors in enumerate(runs):
                view[run].copy_(tensors[name])
        return flat

    def unpack(self, flat: Tensor, run: int) -> dict[str, Tensor]:
        """One run's parameters out of the flat tensor, as views of `spec.shape`."""
        return {name: view[run] for name, view in self.views(flat).items()}

    def chosen(self, flat: Tensor, runs: Tensor) -> Tensor:
        """The flat tensor of some of the runs, by their numbers."""
        blocks = flat.split_with_sizes(self.sizes)
        return torch.cat([block.view(self.runs, -1)[runs].flatten() for block in blocks])

    def kernel_square_sum(self, flat: Tensor) -> Tensor:
        """Σw² over each run's kernels, shape (R,).

        Not by `vector_norm`, which adds in one go: 4e-5 off at two million numbers in fp32.
        """
        blocks = zip(self.specs, flat.split_with_sizes(self.sizes), strict=True)
        kernels = [block.view(self.runs, -1) for spec, block in blocks if spec.kind == "kernel"]
        return torch.stack([kernel.square().sum(1) for kernel in kernels]).sum(0)


def _shaped(block: Tensor, runs: int, spec: ParameterSpec) -> Tensor:
    if not spec.order:
        return block.view(runs, *spec.shape)
    stored = block.view(runs, *(spec.shape[axis] for axis in spec.order))
    return stored.permute(0, *(1 + spec.order.index(axis) for axis in range(len(spec.shape))))
