"""The initial weights: kernels ~ N(0, σw²/fan_in), biases ~ N(0, σb²) (Das et al. 2026, App. A).

Each tensor has its own random stream, keyed by the run's seed and the tensor's name, so two runs
of one seed start from exactly proportional kernels, whatever their σw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from suite.basics.randomness import generator
from suite.models.specs import BufferSpec, ParameterSpec

if TYPE_CHECKING:
    from suite.declarations.config import RunConfig


def initial_parameter(config: RunConfig, spec: ParameterSpec, dtype: torch.dtype) -> Tensor:
    """The starting value of one parameter of one run, shape `spec.shape`, on the CPU."""
    if spec.kind == "other":
        return _filled(spec.shape, spec.initial, dtype)
    # Drawn in double precision, so that a run in fp64 starts where its fp32 twin does.
    stream = generator(config.seed, "initialization", spec.name)
    draw = torch.randn(spec.shape, generator=stream, dtype=torch.float64)
    scale = config.sigma_w * spec.fan_in**-0.5 if spec.kind == "kernel" else config.sigma_b
    return (scale * draw).to(dtype)


def initial_buffer(spec: BufferSpec, dtype: torch.dtype) -> Tensor:
    """The starting value of one buffer of one run, shape `spec.shape`, on the CPU."""
    return _filled(spec.shape, spec.initial, spec.dtype or dtype)


def _filled(shape: tuple[int, ...], value: float | Tensor, dtype: torch.dtype) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(dtype, copy=True)
    return torch.full(shape, value, dtype=dtype)
