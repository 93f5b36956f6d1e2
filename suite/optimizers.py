"""Update rules over a fleet, in Keras's or PyTorch's own semantics.

All runs of a fleet share the rule and the schedule's shape; their initial rates and L2 strengths
may differ. Rules act on the flat tensor of :class:`suite.layout.Layout`.

Sources: Keras 3.15 (`keras.optimizers`), PyTorch 2.14 (`torch.optim`); Muon: K. Jordan et al.
2024, scaled in Keras as by Liu et al. 2025 (arXiv 2502.16982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.config import RunConfig
from suite.layout import Layout
from suite.models.specs import ParameterSpec

BETA1, BETA2 = 0.9, 0.999
MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ_EPSILON = 1e-7
ADAM_EPSILON = {"keras": 1e-7, "torch": 1e-8}
# Keras adds λΣw² to the loss, gradient 2λw; torch's weight_decay adds λw.
L2_GRADIENT = {"keras": 2.0, "torch": 1.0}


def orthogonalised(optimizer: str, spec: ParameterSpec) -> bool:
    """Whether Muon orthogonalises this parameter, rather than leaving it to AdamW.

    `muon_keras` follows Keras from 3.13 on, which takes two-dimensional kernels only and so leaves
    a ResNet's convolutions to AdamW; `muon` takes every kernel but the classifier's.
    """
    if spec.kind != "kernel":
        return False
    if optimizer == "muon_keras":
        return len(spec.shape) == 2
    return optimizer == "muon" and not spec.classifier


def arranged(optimizer: str, specs: Sequence[ParameterSpec]) -> list[ParameterSpec]:
    """The parameters in the order in which the rule wants them: matrices, kernels, the rest."""
    return sorted(specs, key=lambda s: (s.kind != "kernel", not orthogonalised(optimizer, s)))


@dataclass(frozen=True)
class PerRun:
    """A number that may differ between runs: one float where it does not, else per element."""

    common: float | None
    elements: Tensor | None = None

    def add_scaled(self, target: Tensor, source: Tensor, factor: float) -> None:
        """``target += factor × this × source``, in place."""
        if self.common is not None:
            target.add_(source, alpha=factor * self.common)
        else:
            target.addcmul_(source, self._elements(), value=factor)

    def divide_scaled(self, target: Tensor, source: Tensor, by: Tensor, factor: float) -> None:
        """``target += factor × this × source / by``, in place."""
        if self.common is not None:
            target.addcdiv_(source, by, value=factor * self.common)
        else:
            target.addcdiv_(source * self._elements(), by, value=factor)

    def decay(self, target: Tensor, factor: float) -> None:
        """``target −= factor × this × target``, in place."""
        if self.common is not None:
            target.mul_(1.0 - factor * self.common)
        else:
            target.mul_(1.0 - factor * self._elements())

    def __getitem__(self, part: slice) -> PerRun:
        return self if self.elements is None else PerRun(None, self.elements[part])

    def _elements(self) -> Tensor:
        assert self.elements is not None
        return self.elements


def per_run(
    values: Sequence[float], layout: Layout, specs: Sequence[ParameterSpec], like: Tensor
) -> PerRun:
    """The values of R runs for the blocks of `specs`."""
    if len(set(values)) == 1:
        return PerRun(values[0])
    tensor = torch.tensor(values, dtype=like.dtype, device=like.device)
    return PerRun(None, layout.per_element(tensor, specs))


class Optimizer:
    """One update rule over R runs.

    Parameters
    ----------
    configs
        The R runs, equal in optimizer, semantics and schedule.
    layout
        Where their parameters stand; those for which :func:`orthogonalised` is true come first.
    theta
        The flat parameters, for dtype and device.

    Attributes
    ----------
    moments
        Name to flat tensor, laid out as in `moment_layouts`: the rule's state, to be saved and
        restored.
    steps
        Updates made so far.
    """

    def __init__(self, configs: Sequence[RunConfig], layout: Layout, theta: Tensor) -> None:
        first = configs[0]
        self.rule, self.layout, self.semantics = first.optimizer, layout, first.semantics
        self.steps = 0
        self.friction = first.momentum
        self.weight_decay = first.weight_decay if first.acts("weight_decay") else 0.0
        # Rates of one schedule are proportional: step η is the first run's, the rest is a ratio.
        ratios = [config.learning_rate / first.learning_rate for config in configs]
        self.rate = per_run(ratios, layout, layout.specs, theta)
        strengths = [L2_GRADIENT[self.semantics] * config.kernel_l2 for config in configs]
        self.l2 = per_run(strengths, layout, layout.kernels, theta) if any(strengths) else None
        self.matrices = [s for s in layout.specs if orthogonalised(self.rule, s)]
        self.rest = Layout(layout.specs[len(self.matrices) :], layout.runs)
        self.moment_layouts = {
            "sgd": {},
            "momentum": {"velocity": layout},
        }.get(self.rule, {"first": layout, "second": self.rest})
        self.moments = {
            name: theta.new_zeros(place.size) for name, place in self.moment_layouts.items()
        }

    @torch.no_grad()
    def step(self, theta: Tensor, gradient: Tensor, rate: float) -> None:
        """One update of all runs, in place; `gradient` may be overwritten.

        Parameters
        ----------
        theta, gradient
            Flat parameters, and the gradient of each run's loss without its L2 penalty.
        rate
            η_k of the first run.
        """
        self.steps += 1
        if self.l2 is not None:
            span = self.layout.kernel_span
            self.l2.add_scaled(gradient[:span], theta[:span], 1.0)
        if self.weight_decay:
            self.rate.decay(theta, rate * self.weight_decay)
        if self.rule == "sgd":
            self.rate.add_scaled(theta, gradient, -rate)
        elif self.rule == "momentum":
            self._momentum(theta, gradient, rate)
        else:
            self._muon(theta, gradient, rate)
            rest = slice(self.layout.size - self.rest.size, None)
            self._adam(theta[rest], gradient[rest], rate, rest)

    def _momentum(self, theta: Tensor, gradient: Tensor, rate: float) -> None:
        velocity = self.moments["velocity"]
        velocity.mul_(self.friction)
        if self.semantics == "keras":  # the rate is inside the velocity
            self.rate.add_scaled(velocity, gradient, -rate)
            theta.add_(velocity)
        else:
            velocity.add_(gradient)
            self.rate.add_scaled(theta, velocity, -rate)

    def _adam(self, theta: Tensor, gradient: Tensor, rate: float, part: slice) -> None:
        first, second = self.moments["first"][part], self.moments["second"]
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        unbias_first, unbias_second = 1 - BETA1**self.steps, (1 - BETA2**self.steps) ** 0.5
        epsilon = ADAM_EPSILON[self.semantics]
        # w −= η √(1−β2ᵗ)/(1−β1ᵗ) · m/(√v + ε′): Keras adds ε as it is, torch ε√(1−β2ᵗ).
        if self.semantics == "torch":
            epsilon *= unbias_second
        factor = -rate * unbias_second / unbias_first
        self.rate[part].divide_scaled(theta, first, second.sqrt().add_(epsilon), factor)

    def _muon(self, theta: Tensor, gradient: Tensor, rate: float) -> None:
        start = 0
        for spec in self.matrices:
            part = slice(start, start + self.layout.runs * spec.size)
            start = part.stop
            moment = self.moments["first"][part]
            moment.mul_(MUON_MOMENTUM).add_(gradient[part])
            looked_ahead = gradient[part].add(moment, alpha=MUON_MOMENTUM)
            matrices = looked_ahead.view(self.layout.runs, spec.shape[0], -1)
            update = newton_schulz(matrices, keras=self.semantics == "keras").flatten()
            scale = _muon_scale(matrices.shape[1], matrices.shape[2], self.semantics)
            self.rate[part].add_scaled(theta[part], update, -rate * scale)


def newton_schulz(matrices: Tensor, *, keras: bool) -> Tensor:
    """Approximately orthogonalised matrices, five quintic Newton–Schulz iterations.

    The iteration runs in the matrices' own precision. (torch.optim.Muon rounds to bfloat16 first,
    which would make a run's numbers depend on its company in the fleet.)

    Parameters
    ----------
    matrices
        Shape (R, rows, columns).
    keras
        Whether the guard against a zero norm is added (Keras) or a lower bound (torch).
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    norm = torch.linalg.matrix_norm(x, keepdim=True)
    x = x / (norm + NEWTON_SCHULZ_EPSILON if keras else norm.clamp(min=NEWTON_SCHULZ_EPSILON))
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def _muon_scale(rows: int, columns: int, semantics: str) -> float:
    if semantics == "keras":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
