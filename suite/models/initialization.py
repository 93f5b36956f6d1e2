"""The initial weights: kernels with variance σw²/fan_in, biases ~ N(0, σb²).

Das et al. 2026, App. A, draw kernels from a normal distribution. Each tensor has its own random
stream, keyed by the run's seed and the tensor's name, so two runs of one seed start from exactly
proportional kernels, whatever their σw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from suite.basics.randomness import generator
from suite.models.parameterization import initial_factor
from suite.models.specs import BufferSpec, ParameterSpec

if TYPE_CHECKING:
    from suite.declarations.config import RunConfig

# Where a truncated normal distribution ends, in its parent's standard deviations, as in Keras's
# TruncatedNormal and VarianceScaling.
TRUNCATED_AT = 2.0


def initial_parameter(config: RunConfig, spec: ParameterSpec, dtype: torch.dtype) -> Tensor:
    """The starting value of one parameter of one run, shape `spec.shape`, on the CPU."""
    if spec.kind == "other":
        return _filled(spec.shape, spec.initial, dtype)
    # Drawn in double precision, so that a run in fp64 starts where its fp32 twin does.
    stream = generator(config.seed, "initialization", spec.name)
    if spec.kind == "bias":
        return (config.sigma_b * _normal(spec.shape, stream)).to(dtype)
    draw = DRAWS[config.kernel_distribution](spec.shape, stream)
    return (_scale(config, spec) * draw).to(dtype)


def _scale(config: RunConfig, spec: ParameterSpec) -> float:
    """Standard deviation of a kernel's entries; every factor is exactly 1 at its default."""
    scale: float = config.sigma_w * spec.fan_in**-0.5
    scale *= spec.relative_depth**config.layer_scaling
    scale *= config.head_scale if spec.classifier else 1.0
    return scale * initial_factor(spec)


# --- What kernels are drawn from, each with variance 1 ------------------------------------------


def _normal(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=stream, dtype=torch.float64)


def _uniform(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    """Between −√3 and √3."""
    draw: Tensor = 2.0 * torch.rand(shape, generator=stream, dtype=torch.float64) - 1.0
    return draw.mul_(3.0**0.5)


def _truncated_normal(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    """A normal distribution without its tails, made as wide as before.

    By the inverse of its distribution function, and not by `torch.nn.init.trunc_normal_`, whose way
    of drawing has changed between versions.
    """
    end = TRUNCATED_AT
    inside = math.erf(end / 2.0**0.5)
    density = math.exp(-(end**2) / 2.0) / (2.0 * math.pi) ** 0.5
    deviation = (1.0 - 2.0 * end * density / inside) ** 0.5
    uniform = torch.rand(shape, generator=stream, dtype=torch.float64)
    draw: Tensor = torch.special.ndtri(0.5 + (uniform - 0.5) * inside)
    return draw.clamp_(-end, end).div_(deviation)


def _orthogonal(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    """Orthonormal rows of the matrix (outputs, fan_in), or columns where these are fewer, times the
    number that makes the mean square of all entries 1.

    A QR decomposition, whose last bit may differ between machines.
    """
    matrix = torch.empty(shape, dtype=torch.float64)
    torch.nn.init.orthogonal_(matrix, generator=stream)
    larger: int = max(shape[0], math.prod(shape[1:]))
    return matrix.mul_(larger**0.5)


DRAWS: Mapping[str, Callable[[tuple[int, ...], torch.Generator], Tensor]] = {
    "normal": _normal,
    "uniform": _uniform,
    "truncated_normal": _truncated_normal,
    "orthogonal": _orthogonal,
}


def initial_buffer(spec: BufferSpec, dtype: torch.dtype) -> Tensor:
    """The starting value of one buffer of one run, shape `spec.shape`, on the CPU."""
    return _filled(spec.shape, spec.initial, spec.dtype or dtype)


def _filled(shape: tuple[int, ...], value: float | Tensor, dtype: torch.dtype) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(dtype, copy=True)
    return torch.full(shape, value, dtype=dtype)
