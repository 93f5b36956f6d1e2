"""Layers of a fleet: R runs side by side in the channel axis.

Activations have shape (batch, R × channels, height, width); a convolution over R runs is one
grouped convolution, and BatchNorm over R × C channels is R BatchNorms at once. Where Keras and
PyTorch differ, `semantics` decides (paddings, ε, running statistics).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.declarations.update_constants import NORM_MOMENTUM
from suite.models.batch_norm import normalize
from suite.models.small_convolution import MATRIX_SIDE, TAP_MAJOR, small_convolution
from suite.models.specs import BufferSpec, ParameterSpec

# Memory order of a kernel's axes (outputs, inputs, height, width) that convolutions of
# channels-last images want; small ones want `TAP_MAJOR`.
CHANNELS_LAST = (0, 2, 3, 1)


# --- What layers share ------------------------------------------------------------------------


@dataclass(frozen=True)
class Semantics:
    """Constants in which the two libraries' layers differ."""

    batch_norm_epsilon: float
    layer_norm_epsilon: float
    norm_momentum: float  # part of BatchNorm's running statistics that each step keeps
    biased_running_variance: bool
    same_padding: bool  # strided convolutions pad like TensorFlow's "same": (0, 1) on even sizes


SEMANTICS = {
    "keras": Semantics(
        1e-3, 1e-3, NORM_MOMENTUM["keras"], biased_running_variance=True, same_padding=True
    ),
    "torch": Semantics(
        1e-5, 1e-5, NORM_MOMENTUM["torch"], biased_running_variance=False, same_padding=False
    ),
}


@dataclass(frozen=True)
class State:
    """The numbers of R runs during one forward pass."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    runs: int
    training: bool
    # Out of training, kernels and biases that have taken in the normalization after them, by the
    # convolution's name: filled in the first time, and to be kept as long as the numbers are.
    folded: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Layer(Protocol):
    """Something with parameters and buffers."""

    def parameters(self) -> Iterable[ParameterSpec]: ...

    def buffers(self) -> Iterable[BufferSpec]: ...


# --- Convolutions -----------------------------------------------------------------------------


class Convolution:
    """A convolution with bias, zero-padded so that stride 1 keeps the size.

    Parameters
    ----------
    small
        Whether its images are at most `MATRIX_SIDE` high and wide: the kernel is stored for that.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        size: int,
        stride: int,
        semantics: Semantics,
        *,
        small: bool = False,
    ) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs
        self.size, self.stride, self.semantics = size, stride, semantics
        self.order = TAP_MAJOR if small else CHANNELS_LAST

    def parameters(self) -> Iterable[ParameterSpec]:
        shape = (self.outputs, self.inputs, self.size, self.size)
        fan_in = self.inputs * self.size**2
        name = f"{self.name}.kernel"
        yield ParameterSpec(name, shape, "kernel", fan_in, order=self.order)
        yield ParameterSpec(f"{self.name}.bias", (self.outputs,), "bias")

    def buffers(self) -> Iterable[BufferSpec]:
        return ()

    def __call__(self, state: State, x: Tensor) -> Tensor:
        return self.apply(x, self.kernel(state), self.bias(state))

    def kernel(self, state: State) -> Tensor:
        """The kernels of all runs, shape (R, outputs, inputs, size, size)."""
        return state.parameters[f"{self.name}.kernel"]

    def bias(self, state: State) -> Tensor:
        """The biases of all runs, shape (R, outputs)."""
        return state.parameters[f"{self.name}.bias"]

    def apply(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve with given numbers; `bias` None leaves it out."""
        runs, height, width = kernel.shape[0], x.shape[2], x.shape[3]
        if self.size == 3 and self.stride == 1 and max(height, width) <= MATRIX_SIDE:
            return small_convolution(x, kernel, bias)
        padding = self.size // 2
        if self.stride > 1 and self.semantics.same_padding:
            x, padding = F.pad(x, self._same(width) + self._same(height)), 0
        shifts = None if bias is None else bias.flatten()
        return F.conv2d(x, kernel.flatten(0, 1), shifts, self.stride, padding, groups=runs)

    def _same(self, length: int) -> list[int]:
        total = max((-(-length // self.stride) - 1) * self.stride + self.size - length, 0)
        return [total // 2, total - total // 2]


# --- Normalizations ---------------------------------------------------------------------------


class BatchNorm:
    """Batch normalization with running statistics in the chosen semantics."""

    def __init__(self, name: str, channels: int, semantics: Semantics) -> None:
        self.name, self.channels, self.semantics = name, channels, semantics

    def parameters(self) -> Iterable[ParameterSpec]:
        yield ParameterSpec(f"{self.name}.scale", (self.channels,), "other", initial=1.0)
        yield ParameterSpec(f"{self.name}.shift", (self.channels,), "other", initial=0.0)

    def buffers(self) -> Iterable[BufferSpec]:
        yield BufferSpec(f"{self.name}.mean", (self.channels,), 0.0)
        yield BufferSpec(f"{self.name}.variance", (self.channels,), 1.0)

    def convolved(self, state: State, convolution: Convolution, x: Tensor) -> Tensor:
        """A convolution and this normalization.

        In training the bias is left out of the sum, since the batch's mean takes it away again;
        it enters the running mean. So its gradient is what it is, zero, and not the rounding error
        which a sum over the batch leaves, and which Adam would scale up to full steps. In inference
        mode the normalization is one with the convolution.
        """
        kernel, bias = convolution.kernel(state), convolution.bias(state)
        if state.training:
            return self(state, convolution.apply(x, kernel, None), offset=bias)
        if convolution.name not in state.folded:
            factor, shift = self._affine(state)
            folded = kernel * factor[..., None, None, None], bias * factor + shift
            state.folded[convolution.name] = folded
        return convolution.apply(x, *state.folded[convolution.name])

    def __call__(self, state: State, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """Normalize activations that lack `offset`, shape (R, channels), which the batch's mean
        takes away.
        """
        if not state.training:
            factor, shift = self._affine(state)
            shape = (1, -1, 1, 1)
            return x * factor.view(shape) + shift.view(shape)
        scale = state.parameters[f"{self.name}.scale"]
        shift = state.parameters[f"{self.name}.shift"]
        rules = self.semantics
        normalized, mean, variance = normalize(
            x, scale.flatten(), shift.flatten(), rules.batch_norm_epsilon
        )
        mean, variance = mean.view_as(scale), variance.view_as(scale)
        if offset is not None:
            mean = mean + offset.detach()
        if not rules.biased_running_variance:
            count = x.shape[0] * x.shape[2] * x.shape[3]
            variance = variance * (count / (count - 1))
        state.buffers[f"{self.name}.mean"].lerp_(mean, 1 - rules.norm_momentum)
        state.buffers[f"{self.name}.variance"].lerp_(variance, 1 - rules.norm_momentum)
        return normalized

    def _affine(self, state: State) -> tuple[Tensor, Tensor]:
        """What inference multiplies with and adds, shape (R, channels)."""
        scale = state.parameters[f"{self.name}.scale"]
        mean, variance = state.buffers[f"{self.name}.mean"], state.buffers[f"{self.name}.variance"]
        factor = scale * (variance + self.semantics.batch_norm_epsilon).rsqrt()
        return factor, state.parameters[f"{self.name}.shift"] - mean * factor


class LayerNorm:
    """Layer normalization over the channels of each pixel."""

    def __init__(self, name: str, channels: int, semantics: Semantics) -> None:
        self.name, self.channels, self.semantics = name, channels, semantics

    def parameters(self) -> Iterable[ParameterSpec]:
        yield ParameterSpec(f"{self.name}.scale", (self.channels,), "other", initial=1.0)
        yield ParameterSpec(f"{self.name}.shift", (self.channels,), "other", initial=0.0)

    def buffers(self) -> Iterable[BufferSpec]:
        return ()

    def convolved(self, state: State, convolution: Convolution, x: Tensor) -> Tensor:
        """A convolution and this normalization."""
        return self(state, convolution(state, x))

    def __call__(self, state: State, x: Tensor) -> Tensor:
        shape = (1, state.runs, self.channels, 1, 1)
        scale = state.parameters[f"{self.name}.scale"].view(shape)
        shift = state.parameters[f"{self.name}.shift"].view(shape)
        by_run = torch.unflatten(x, 1, (state.runs, self.channels))
        if x.dtype == torch.bfloat16:
            by_run = (
                by_run.float()
            )  # eight bits are too few for a mean, and for a deviation from it
        variance, mean = torch.var_mean(by_run, dim=2, correction=0, keepdim=True)
        deviation = (variance + self.semantics.layer_norm_epsilon).rsqrt()
        return ((by_run - mean) * (deviation * scale) + shift).flatten(1, 2).to(x.dtype)


# --- The classifier ---------------------------------------------------------------------------


class Dense:
    """The classifier: (batch, R × features) to (batch, R, classes)."""

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs

    def parameters(self) -> Iterable[ParameterSpec]:
        shape = (self.outputs, self.inputs)
        name = f"{self.name}.kernel"
        yield ParameterSpec(name, shape, "kernel", self.inputs, classifier=True, order=(1, 0))
        yield ParameterSpec(f"{self.name}.bias", (self.outputs,), "bias")

    def buffers(self) -> Iterable[BufferSpec]:
        return ()

    def __call__(self, state: State, x: Tensor) -> Tensor:
        features = x.view(x.shape[0], state.runs, self.inputs).transpose(0, 1)
        kernel = state.parameters[f"{self.name}.kernel"]
        bias = state.parameters[f"{self.name}.bias"].unsqueeze(1)
        return torch.baddbmm(bias, features, kernel.transpose(1, 2)).transpose(0, 1)
