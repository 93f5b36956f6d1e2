"""The paper's architectures: ResNet-9, its average-pooling control, ResNet-56 and ResNet-110.

Das et al. 2026, App. A; all convolutions have biases, and each 3×3 convolution is followed by a
normalization.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.models.depth import with_depths
from suite.models.layers import (
    BatchNorm,
    Convolution,
    Dense,
    Layer,
    LayerNorm,
    Semantics,
    State,
)
from suite.models.small_convolution import MATRIX_SIDE
from suite.models.specs import BufferSpec, ParameterSpec

NORMS: Mapping[str, type[BatchNorm] | type[LayerNorm]] = {"batch": BatchNorm, "layer": LayerNorm}


class ConvNorm:
    """A 3×3 convolution and its normalization."""

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        norm: str,
        semantics: Semantics,
        *,
        stride: int = 1,
        small: bool = False,
    ) -> None:
        self.convolution = Convolution(name, inputs, outputs, 3, stride, semantics, small=small)
        self.norm = NORMS[norm](f"{name}.norm", outputs, semantics)

    def __iter__(self) -> Iterator[Layer]:
        yield self.convolution
        yield self.norm

    def __call__(self, state: State, x: Tensor) -> Tensor:
        return self.norm.convolved(state, self.convolution, x)


class ResNet(ABC):
    """What the two families share: the layers' specs, and the run axis at both ends."""

    def __init__(self, layers: list[Layer]) -> None:
        self.parameters: tuple[ParameterSpec, ...] = with_depths(
            [spec for layer in layers for spec in layer.parameters()]
        )
        self.buffers: tuple[BufferSpec, ...] = tuple(
            spec for layer in layers for spec in layer.buffers()
        )
        self.batch_statistics = any(isinstance(layer, BatchNorm) for layer in layers)

    def logits(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        images: Tensor,
        *,
        training: bool,
    ) -> Tensor:
        """Class scores; see :class:`suite.models.specs.Network`."""
        return self._scores(State(parameters, buffers, images.shape[1], training), images)

    def inference(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Class scores of images; see :class:`suite.models.specs.Network`."""
        runs = next(iter(parameters.values())).shape[0]
        return functools.partial(self._scores, State(parameters, buffers, runs, training=False))

    def _scores(self, state: State, images: Tensor) -> Tensor:
        # Channels last: normalization and pooling then run along them.
        x = images.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return self.forward(state, x)

    @abstractmethod
    def forward(self, state: State, x: Tensor) -> Tensor:
        """Class scores from activations with the runs side by side in the channel axis."""


class ResNet9(ResNet):
    """64; 128, pool; residual(128, 128); 256, pool; 512, pool; residual(512, 512); pool; dense.

    Parameters
    ----------
    side
        The larger of the images' height and width, in pixels.
    pool
        Global pooling before the classifier: *max* (ResNet-9) or *average* (its control).
    """

    def __init__(
        self,
        channels: int,
        side: int,
        width: int,
        classes: int,
        *,
        norm: str,
        rules: Semantics,
        pool: str,
    ) -> None:
        # Channels in and out, and by how much the images have shrunk before.
        plan = {
            "conv1": (channels, width, 1),
            "conv2": (width, 2 * width, 1),
            "res1a": (2 * width, 2 * width, 2),
            "res1b": (2 * width, 2 * width, 2),
            "conv3": (2 * width, 4 * width, 2),
            "conv4": (4 * width, 8 * width, 4),
            "res2a": (8 * width, 8 * width, 8),
            "res2b": (8 * width, 8 * width, 8),
        }
        self.blocks = {
            name: ConvNorm(name, into, out, norm, rules, small=side // shrunk <= MATRIX_SIDE)
            for name, (into, out, shrunk) in plan.items()
        }
        self.head = Dense("head", 8 * width, classes)
        self.average = pool == "average"
        super().__init__([layer for block in self.blocks.values() for layer in block] + [self.head])

    def forward(self, state: State, x: Tensor) -> Tensor:
        def block(name: str, x: Tensor) -> Tensor:
            return F.relu(self.blocks[name](state, x))

        def pooled(name: str, x: Tensor) -> Tensor:
            # Pooling first leaves a quarter of the work for the rectifier, and the same numbers.
            return F.relu(F.max_pool2d(self.blocks[name](state, x), 2))

        x = block("conv1", x)
        x = pooled("conv2", x)
        x = x + block("res1b", block("res1a", x))
        x = pooled("conv3", x)
        x = pooled("conv4", x)
        x = x + block("res2b", block("res2a", x))
        if x.shape[-1] * x.shape[-2] == 1:
            x = x.flatten(1)
        else:
            x = x.mean(dim=(2, 3)) if self.average else torch.amax(x, dim=(2, 3))
        return self.head(state, x)


class BasicBlock:
    """Two 3×3 convolutions around a shortcut; a 1×1 projection where the stage changes."""

    def __init__(
        self, name: str, inputs: int, outputs: int, stride: int, norm: str, semantics: Semantics
    ) -> None:
        self.first = ConvNorm(f"{name}.a", inputs, outputs, norm, semantics, stride=stride)
        self.second = ConvNorm(f"{name}.b", outputs, outputs, norm, semantics)
        self.projection = (
            Convolution(f"{name}.projection", inputs, outputs, 1, stride, semantics)
            if stride > 1
            else None
        )

    def __iter__(self) -> Iterator[Layer]:
        yield from self.first
        yield from self.second
        if self.projection:
            yield self.projection

    def __call__(self, state: State, x: Tensor) -> Tensor:
        residual = self.second(state, F.relu(self.first(state, x)))
        shortcut = self.projection(state, x) if self.projection else x
        return F.relu(residual + shortcut)


class CifarResNet(ResNet):
    """A 6n+2-layer ResNet: stages of `width`, 2·`width`, 4·`width` channels with n blocks each."""

    def __init__(
        self, channels: int, width: int, classes: int, *, depth: int, norm: str, rules: Semantics
    ) -> None:
        self.stem = ConvNorm("stem", channels, width, norm, rules)
        self.blocks: list[BasicBlock] = []
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            for index in range((depth - 2) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"stage{stage + 1}.{index + 1}"
                self.blocks.append(BasicBlock(name, inputs, outputs, stride, norm, rules))
                inputs = outputs
        self.head = Dense("head", inputs, classes)
        blocks = [layer for block in self.blocks for layer in block]
        super().__init__([*self.stem, *blocks, self.head])

    def forward(self, state: State, x: Tensor) -> Tensor:
        x = F.relu(self.stem(state, x))
        for block in self.blocks:
            x = block(state, x)
        return self.head(state, x.mean(dim=(2, 3)))
