"""What all ways of `benchmarks.gpu` are given: runs, images, a network and its initial weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.engine.evaluation import DTYPES
from suite.models.initialization import initial_parameter
from suite.models.layers import SEMANTICS
from suite.models.resnet import ResNet9

CHANNELS, CLASSES = 3, 10


@dataclass(frozen=True)
class Run:
    """What the engine asks of a run. `RunConfig` has it too, but needs pydantic."""

    precision: str
    optimizer: str
    width: int
    model: str = "resnet9"
    seed: int = 0
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    kernel_distribution: str = "normal"
    layer_scaling: float = 0.0
    head_scale: float = 1.0
    learning_rate: float = 1e-2
    momentum: float = 0.9
    momentum_kind: str = "heavy-ball"
    kernel_l2: float = 0.0
    semantics: str = "torch"

    def acts(self, _name: str) -> bool:
        """No setting of other optimizers does."""
        return False


@dataclass(frozen=True)
class Images:
    """Random images, uint8 (N, 3, side, side), and labels (N,)."""

    images: Tensor
    labels: Tensor

    @classmethod
    def random(cls, count: int, side: int, device: torch.device) -> Images:
        """Images of uniform noise."""
        stream = torch.Generator().manual_seed(0)
        shape = (count, CHANNELS, side, side)
        images = torch.randint(256, shape, generator=stream, dtype=torch.uint8)
        labels = torch.randint(CLASSES, (count,), generator=stream)
        return cls(images.to(device), labels.to(device))


def build_network(run: Run, data: Images) -> ResNet9:
    """The suite's ResNet-9 for a run."""
    side = data.images.shape[-1]
    rules = SEMANTICS[run.semantics]
    return ResNet9(CHANNELS, side, run.width, CLASSES, norm="batch", rules=rules, pool="max")


@functools.lru_cache(maxsize=4)
def _drawn(run: Run, side: int) -> dict[str, Tensor]:
    data = Images.random(1, side, torch.device("cpu"))
    dtype = DTYPES[run.precision]
    specs = build_network(run, data).parameters
    return {s.name: initial_parameter(run, s, dtype) for s in specs}  # type: ignore[arg-type]


def initial_weights(run: Run, data: Images) -> Mapping[str, Tensor]:
    """The parameters from which a run starts, by the suite's names."""
    return _drawn(run, data.images.shape[-1])
