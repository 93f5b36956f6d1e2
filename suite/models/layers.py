"""Layers of a fleet: R runs side by side in the channel axis.

Activations have shape (batch, R × channels, height, width); a convolution over R runs is one
grouped convolution, and BatchNorm over R × C channels is R BatchNorms at once. Where Keras and
PyTorch differ, `semantics` decides (paddings, ε, running statistics).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.models.specs import BufferSpec, ParameterSpec


@dataclass(frozen=True)
class Semantics:
    """Constants in which the two libraries' layers differ."""

    batch_norm_epsilon: float
    layer_norm_epsilon: float
    running_update: float  # part of the batch statistic that enters the running one
    biased_running_variance: bool
    same_padding: bool  # strided convolutions pad like TensorFlow's "same": (0, 1) on even sizes


SEMANTICS = {
    "keras": Semantics(1e-3, 1e-3, 0.01, biased_running_variance=True, same_padding=True),
    "torch": Semantics(1e-5, 1e-5, 0.1, biased_running_variance=False, same_padding=False),
}


@dataclass(frozen=True)
class State:
    """The numbers of R runs during one forward pass."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    runs: int
    training: bool


class Layer(Protocol):
    """Something with parameters that maps activations to activations."""

    def parameters(self) -> Iterable[ParameterSpec]: ...

    def buffers(self) -> Iterable[BufferSpec]: ...

    def __call__(self, state: State, x: Tensor) -> Tensor: ...


class Convolution:
    """A convolution with bias, zero-padded so that stride 1 keeps the size."""

    def __init__(
        self, name: str, inputs: int, outputs: int, size: int, stride: int, semantics: Semantics
    ) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs
        self.size, self.stride, self.semantics = size, stride, semantics

    def parameters(self) -> Iterable[ParameterSpec]:
        shape = (self.outputs, self.inputs, self.size, self.size)
        fan_in = self.inputs * self.size**2
        yield ParameterSpec(f"{self.name}.kernel", shape, "kernel", fan_in)
        yield ParameterSpec(f"{self.name}.bias", (self.outputs,), "bias")

    def buffers(self) -> Iterable[BufferSpec]:
        return ()

    def __call__(self, state: State, x: Tensor) -> Tensor:
        kernel = state.parameters[f"{self.name}.kernel"].flatten(0, 1)
        bias = state.parameters[f"{self.name}.bias"].flatten()
        padding = self.size // 2
        if self.stride > 1 and self.semantics.same_padding:
            x, padding = F.pad(x, self._same(x.shape[-1]) + self._same(x.shape[-2])), 0
        return F.conv2d(x, kernel, bias, self.stride, padding, groups=state.runs)

    def _same(self, length: int) -> list[int]:
        total = max((-(-length // self.stride) - 1) * self.stride + self.size - length, 0)
        return [total // 2, total - total // 2]


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

    def __call__(self, state: State, x: Tensor) -> Tensor:
        scale = state.parameters[f"{self.name}.scale"].flatten()
        shift = state.parameters[f"{self.name}.shift"].flatten()
        mean = state.buffers[f"{self.name}.mean"].view(-1)
        # Without autograd's version counter: the backward pass never reads the running values.
        variance = state.buffers[f"{self.name}.variance"].data.view(-1)
        biased = self.semantics.biased_running_variance and state.training
        if biased:
            # torch adds the unbiased variance, n/(n-1) times what Keras adds: scaling the running
            # value up before and down after makes its update the biased one, at two small ops.
            count = x.shape[0] * x.shape[2] * x.shape[3]
            variance.mul_(count / (count - 1))
        x = F.batch_norm(
            x,
            mean,
            variance,
            scale,
            shift,
            state.training,
            self.semantics.running_update,
            self.semantics.batch_norm_epsilon,
        )
        if biased:
            variance.data.mul_((count - 1) / count)
        return x


class LayerNorm:
    """Layer normalization over the channels of each pixel."""

    def __init__(self, name: str, channels: int, semantics: Semantics) -> None:
        self.name, self.channels, self.semantics = name, channels, semantics

    def parameters(self) -> Iterable[ParameterSpec]:
        yield ParameterSpec(f"{self.name}.scale", (self.channels,), "other", initial=1.0)
        yield ParameterSpec(f"{self.name}.shift", (self.channels,), "other", initial=0.0)

    def buffers(self) -> Iterable[BufferSpec]:
        return ()

    def __call__(self, state: State, x: Tensor) -> Tensor:
        shape = (1, state.runs, self.channels, 1, 1)
        scale = state.parameters[f"{self.name}.scale"].view(shape)
        shift = state.parameters[f"{self.name}.shift"].view(shape)
        by_run = torch.unflatten(x, 1, (state.runs, self.channels))
        variance, mean = torch.var_mean(by_run, dim=2, correction=0, keepdim=True)
        deviation = (variance + self.semantics.layer_norm_epsilon).rsqrt()
        return ((by_run - mean) * (deviation * scale) + shift).flatten(1, 2)


class Dense:
    """The classifier: (batch, R × features) to (batch, R, classes)."""

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs

    def parameters(self) -> Iterable[ParameterSpec]:
        shape = (self.outputs, self.inputs)
        yield ParameterSpec(f"{self.name}.kernel", shape, "kernel", self.inputs, classifier=True)
        yield ParameterSpec(f"{self.name}.bias", (self.outputs,), "bias")

    def buffers(self) -> Iterable[BufferSpec]:
        return ()

    def __call__(self, state: State, x: Tensor) -> Tensor:
        features = x.view(x.shape[0], state.runs, self.inputs).transpose(0, 1)
        kernel = state.parameters[f"{self.name}.kernel"]
        bias = state.parameters[f"{self.name}.bias"].unsqueeze(1)
        return torch.baddbmm(bias, features, kernel.transpose(1, 2)).transpose(0, 1)
