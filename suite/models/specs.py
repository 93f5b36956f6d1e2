"""What a network tells the engine: its parameters, its buffers, and how to compute logits.

A *fleet* holds R runs; every tensor of a network has a leading run axis of length R, and
activations carry the runs after the batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

Kind = Literal["kernel", "bias", "other"]


@dataclass(frozen=True)
class ParameterSpec:
    """One trainable tensor of a single run.

    Attributes
    ----------
    kind
        *kernel*: drawn with variance σw²/fan_in, under L2 and in `kernel_norm`; *bias*: drawn from
        N(0, σb²); *other*: starts at `initial`.
    fan_in
        Inputs of one output unit, for kernels.
    initial
        Starting value of an *other* parameter: a number, or a tensor of `shape`.
    classifier
        Whether it is the kernel that gives the class scores.
    relative_depth
        Place l of a kernel among the L kernels from input to output, in units of the geometric mean
        of 1, …, L; 1 where depth has no meaning.
    inputs_growth, outputs_growth
        Under μP, its inputs and outputs as multiples of those at the base width; 1 elsewhere. Of a
        bias or a norm's parameter the outputs alone grow.
    embedding
        Whether it is the kernel that makes tokens of an image, an input layer to Muon.
    order
        Its axes as they follow each other in memory, the fastest last; empty: as in `shape`.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    fan_in: int = 0
    initial: float | Tensor = 0.0
    classifier: bool = False
    relative_depth: float = 1.0
    inputs_growth: float = 1.0
    outputs_growth: float = 1.0
    embedding: bool = False
    order: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class BufferSpec:
    """One tensor of a single run which training changes but the optimizer does not."""

    name: str
    shape: tuple[int, ...]
    initial: float | Tensor
    dtype: torch.dtype | None = None  # None: the run's own


class Network(Protocol):
    """An architecture, without any numbers in it.

    Attributes
    ----------
    batch_statistics
        Whether it normalizes with the statistics of the batch, so that one image is none.
    """

    parameters: tuple[ParameterSpec, ...]
    buffers: tuple[BufferSpec, ...]
    batch_statistics: bool

    def logits(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        images: Tensor,
        *,
        training: bool,
    ) -> Tensor:
        """Class scores of R runs.

        Parameters
        ----------
        parameters, buffers
            Name to tensor of shape (R, …). In training mode buffers are updated in place.
        images
            In [0, 1], shape (batch, R, channels, height, width).
        training
            Whether normalization uses the batch's statistics and updates the running ones.

        Returns
        -------
        Tensor
            Shape (batch, R, classes).
        """
        ...

    def inference(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """`logits` out of training as a function of the images, for many batches on the same
        numbers: what depends on these alone is computed once.
        """
        ...
