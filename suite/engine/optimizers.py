"""Update rules over a fleet, in Keras's or PyTorch's own semantics.

All runs of a fleet share the rule and the schedule's shape; their initial rates and L2 strengths
may differ, and under μP each parameter has a rate of its own. Rules act on the flat tensor of
:class:`suite.engine.layout.Layout`.

Sources: Keras 3.15 (`keras.optimizers`), PyTorch 2.14 (`torch.optim`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from suite.declarations.update_constants import (
    ADAM_BASED,
    ADAM_EPSILON,
    BETA1,
    BETA2,
    L2_GRADIENT,
    LION_BETA1,
    LION_BETA2,
    MUON_MOMENTUM,
    PLAIN,
)
from suite.engine.layout import Layout
from suite.engine.newton_schulz import is_hidden_matrix, newton_schulz, step_scale
from suite.models.parameterization import rate_factor
from suite.models.specs import ParameterSpec

if TYPE_CHECKING:
    from suite.declarations.config import RunConfig

# A number of an update that changes from step to step.
Factor = float | Tensor

# A step count at which 1 − βᵗ is 1 to the last bit.
FOREVER = 1e6


def orthogonalised(optimizer: str, spec: ParameterSpec) -> bool:
    """Whether Muon orthogonalises this parameter, rather than leaving it to AdamW.

    `muon_keras` follows Keras from 3.13 on, which takes two-dimensional kernels only and so leaves
    a ResNet's convolutions to AdamW; `muon` takes every kernel but the classifier's and a patch
    embedding's (timm's models name none) that is a hidden matrix: see
    :func:`suite.engine.newton_schulz.is_hidden_matrix`.
    """
    if spec.kind != "kernel":
        return False
    if optimizer == "muon_keras":
        return len(spec.shape) == 2
    outer = spec.classifier or spec.embedding
    return optimizer == "muon" and not outer and is_hidden_matrix(spec.shape)


def arranged(optimizer: str, specs: Sequence[ParameterSpec]) -> list[ParameterSpec]:
    """The parameters in the order in which the rule wants them: matrices, kernels, the rest."""
    return sorted(specs, key=lambda s: (s.kind != "kernel", not orthogonalised(optimizer, s)))


def moment_specs(
    optimizer: str, specs: Sequence[ParameterSpec]
) -> dict[str, Sequence[ParameterSpec]]:
    """Each moment of the rule with the parameters that have it; `specs` as `arranged`."""
    if optimizer in PLAIN:
        return dict.fromkeys(PLAIN[optimizer], specs)
    rest = [spec for spec in specs if not orthogonalised(optimizer, spec)]
    return {"first": specs, "second": rest}


class Optimizer:
    """One update rule over R runs.

    Parameters
    ----------
    configs
        The R runs, equal in optimizer, semantics and schedule.
    layout
        Where their parameters stand; those for which :func:`orthogonalised` is true come first.
    theta
        The flat parameters, which :meth:`step` updates.
    replayable
        Whether the factors that change from step to step are tensors beside theta, so that
        :meth:`update` can be captured once and replayed, as in a CUDA graph; None: on a GPU.

    Attributes
    ----------
    moments
        Name to flat tensor, laid out as in `moment_layouts`: the rule's state, to be saved and
        restored.
    steps
        Updates made so far.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        layout: Layout,
        theta: Tensor,
        *,
        replayable: bool | None = None,
    ) -> None:
        first = configs[0]
        self.rule, self.semantics, self.theta = first.optimizer, first.semantics, theta
        moves = {"sgd": self._sgd, "momentum": self._momentum, "lion": self._lion}
        self._move = (moves | dict.fromkeys(ADAM_BASED, self._muon_and_adam))[self.rule]
        self.steps = 0
        self.friction, self.nesterov = first.momentum, first.momentum_kind == "nesterov"
        self.weight_decay = first.weight_decay if first.acts("weight_decay") else 0.0
        self.parameters = list(layout.views(theta).values())
        # Rates of one schedule are proportional: step η is the first run's, the rest is a ratio.
        ratios = [config.learning_rate / first.learning_rate for config in configs]
        self.run_ratios = _per_run(ratios, self.parameters) if len(set(ratios)) > 1 else None
        self.ratios = self._under_mup(ratios, layout.specs)
        self.kernels = self.parameters[: len(layout.kernels)]
        strengths = [L2_GRADIENT[self.semantics] * config.kernel_l2 for config in configs]
        self.l2 = strengths[0] if len(set(strengths)) == 1 else _per_run(strengths, self.kernels)
        self.orthogonal = [s for s in layout.specs if orthogonalised(self.rule, s)]
        self.moment_layouts = {
            name: Layout(of, layout.runs)
            for name, of in moment_specs(self.rule, layout.specs).items()
        }
        self.moments = {
            name: theta.new_zeros(place.size) for name, place in self.moment_layouts.items()
        }
        self._moments = {
            name: list(place.views(self.moments[name]).values())
            for name, place in self.moment_layouts.items()
        }
        # What torch's fused kernels read from tensors they read in single precision.
        self.replayable = theta.is_cuda if replayable is None else replayable
        self.fused_adam = self.ratios is None and not (
            self.replayable and theta.dtype == torch.float64
        )
        self.factors: dict[str, Factor] = {
            name: theta.new_zeros(()) for name in self._read() if self.replayable
        }
        self._forever = torch.tensor(FOREVER, device=theta.device)

    def _under_mup(
        self, ratios: Sequence[float], specs: Sequence[ParameterSpec]
    ) -> list[Tensor] | None:
        """Each run's ratio times each parameter's own, which decoupled decay does not have: it
        takes ηλw of every parameter.
        """
        own = [rate_factor(self.rule, spec) for spec in specs]
        if set(own) == {1.0}:
            return self.run_ratios
        shared = _per_run(ratios, self.parameters)
        return [ratio * factor for ratio, factor in zip(shared, own, strict=True)]

    def _read(self) -> set[str]:
        """The factors which the rule reads where they are tensors: each costs a launch a step."""
        adam = {"adam"}
        if self.semantics == "torch":
            adam = {"rate", "count"} if self.fused_adam else {"adam", "epsilon"}
        decay = {"decay"} if self.weight_decay else set()
        if self.rule in PLAIN:
            return {"rate"} | decay
        return adam | decay | ({"rate"} if self.orthogonal else set())

    # --- One update: its two halves, of which a CUDA graph can hold the second --------------------

    def restore(self, moments: Mapping[str, Tensor], steps: int) -> None:
        """Go on from a saved state: flat moments by name, and the updates made until then."""
        for name, flat in moments.items():
            self.moments[name].copy_(flat)
        self.steps = steps

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """One update of all runs.

        Parameters
        ----------
        gradients
            Of each run's loss without its L2 penalty, by parameter in the layout's order, shapes
            (R, …). They may be overwritten.
        rate
            η_k of the first run.
        """
        self.prepare(rate)
        self.update(gradients)

    def prepare(self, rate: float) -> None:
        """Count a step and set what changes with it: the part that a CUDA graph cannot hold.

        Parameters
        ----------
        rate
            η_k of the first run.
        """
        self.steps += 1
        unbias = (1 - BETA2**self.steps) ** 0.5
        epsilon = ADAM_EPSILON[self.semantics]
        values = {
            "rate": rate,
            "decay": rate * self.weight_decay,
            "adam": rate * unbias / (1 - BETA1**self.steps),
            "epsilon": epsilon * (unbias if self.semantics == "torch" else 1.0),
            "count": float(self.steps),
        }
        if not self.replayable:
            self.factors = dict(values)
            return
        for name, place in self.factors.items():
            assert isinstance(place, Tensor)
            place.fill_(values[name])  # the number travels with the launch: nobody waits

    @torch.no_grad()
    def update(self, gradients: list[Tensor]) -> None:
        """The update for which :meth:`prepare` was called, of all runs; see :meth:`step`."""
        self._penalize(gradients[: len(self.kernels)])
        if self.weight_decay:
            self._decay(self.factors["decay"])
        self._move(gradients)

    # --- What rules share: L2, a step downhill, decoupled decay -----------------------------------

    def _penalize(self, gradients: list[Tensor]) -> None:
        """Add the L2 penalty's part to the gradients of the kernels."""
        if isinstance(self.l2, list):
            for gradient, kernel, strength in zip(gradients, self.kernels, self.l2, strict=True):
                gradient.addcmul_(kernel, strength)
        elif self.l2:
            torch._foreach_add_(gradients, self.kernels, alpha=self.l2)

    def _descend(self, targets: list[Tensor], directions: list[Tensor], factor: Factor) -> None:
        """``targets −= factor × ratio × directions``; directions may be overwritten."""
        if self.ratios is not None:
            ratios = self.ratios[len(self.ratios) - len(targets) :]
            for direction, ratio in zip(directions, ratios, strict=True):
                direction.mul_(ratio)
        if not isinstance(factor, Tensor):
            torch._foreach_add_(targets, directions, alpha=-factor)
        elif factor.dtype == torch.float32:  # one sweep over memory
            torch._fused_sgd_(
                targets,
                directions,
                [],
                weight_decay=0.0,
                momentum=0.0,
                lr=factor,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )
        else:
            torch._foreach_sub_(targets, torch._foreach_mul(directions, factor))

    def _decay(self, factor: Factor) -> None:
        if self.run_ratios is None:
            self.theta.mul_(1.0 - factor)
            return
        for parameter, ratio in zip(self.parameters, self.run_ratios, strict=True):
            parameter.mul_(1.0 - factor * ratio)

    # --- The rules --------------------------------------------------------------------------------

    def _sgd(self, gradients: list[Tensor]) -> None:
        self._descend(self.parameters, gradients, self.factors["rate"])

    def _momentum(self, gradients: list[Tensor]) -> None:
        rate = self.factors["rate"]
        flat, velocities = self.moments["velocity"], self._moments["velocity"]
        if self.semantics == "keras":  # the rate is inside the velocity
            # Nesterov's move μv′ − ηg is (1 + μ)v′ − μv, as v′ = μv − ηg.
            if self.nesterov:
                self.theta.add_(flat, alpha=-self.friction)
            flat.mul_(self.friction)
            self._descend(velocities, gradients, rate)
            self.theta.add_(flat, alpha=1 + self.friction if self.nesterov else 1)
            return
        flat.mul_(self.friction)
        torch._foreach_add_(velocities, gradients)
        if self.nesterov:
            torch._foreach_add_(gradients, velocities, alpha=self.friction)
            moves = gradients
        else:
            moves = velocities if self.ratios is None else [v.clone() for v in velocities]
        self._descend(self.parameters, moves, rate)

    def _lion(self, gradients: list[Tensor]) -> None:
        """W −= η sign(β1 m + (1−β1) g), then m = β2 m + (1−β2) g; Chen et al. 2023, algorithm 2.

        Keras and timm have one form of it. A gradient that is rounding alone makes whole steps: in
        Keras those of biases before batch normalization, which here are exactly 0.
        """
        momenta = self._moments["first"]
        directions = list(torch._foreach_mul(momenta, LION_BETA1))
        torch._foreach_add_(directions, gradients, alpha=1 - LION_BETA1)
        # sign(NaN) is 0, which would hide that a run diverges.
        directions = [torch.where(d.isnan(), d, d.sign()) for d in directions]
        self._descend(self.parameters, directions, self.factors["rate"])
        torch._foreach_lerp_(momenta, gradients, 1 - LION_BETA2)

    def _muon_and_adam(self, gradients: list[Tensor]) -> None:
        """Muon for what it orthogonalises, which under Adam and AdamW is nothing; Adam the rest."""
        self._muon(gradients)
        self._adam(gradients)

    def _adam(self, gradients: list[Tensor]) -> None:
        """W −= η √(1−β2ᵗ)/(1−β1ᵗ) · m/(√v + ε′): Keras adds ε as it is, torch ε√(1−β2ᵗ)."""
        start = len(self.orthogonal)
        parameters, gradients = self.parameters[start:], gradients[start:]
        first, second = self._moments["first"][start:], self._moments["second"]
        if self.fused_adam:
            self._fused_adam(parameters, gradients, first, second)
            return
        torch._foreach_lerp_(first, gradients, 1 - BETA1)
        torch._foreach_mul_(second, BETA2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - BETA2)
        roots = torch._foreach_sqrt(second)
        epsilon = self.factors.get("epsilon", ADAM_EPSILON[self.semantics])
        if isinstance(epsilon, Tensor):
            # torch._foreach_add_ would take the number out of it, for which the host has to wait.
            torch.ops.aten._foreach_add_.Tensor(roots, epsilon)
        else:
            torch._foreach_add_(roots, epsilon)
        directions = list(torch._foreach_div(first, roots))
        self._descend(parameters, directions, self.factors["adam"])

    def _fused_adam(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
    ) -> None:
        """Adam as torch.optim.Adam(fused=True) does it, in one sweep over memory.

        Its ε stands outside the bias correction of √v, as in torch; Keras's is divided by that.
        Where ε may not change, in a graph, Keras's rule is torch's after endless steps, at the rate
        that has the corrections in it.
        """
        epsilon = ADAM_EPSILON[self.semantics]
        count: Any
        rate: Any  # torch's stubs know two functions, one for floats and one for tensors
        if not self.replayable:
            count = torch.tensor(float(self.steps), device=self.theta.device)
            rate = self.factors["rate"]
            if self.semantics == "keras":
                epsilon /= (1 - BETA2**self.steps) ** 0.5
        elif self.semantics == "keras":
            count, rate = self._forever, self.factors["adam"]
        else:
            count, rate = self.factors["count"], self.factors["rate"]
        torch._fused_adam_(
            parameters,
            list(gradients),
            first,
            second,
            [],
            [count] * len(parameters),
            lr=rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _muon(self, gradients: list[Tensor]) -> None:
        for place in range(len(self.orthogonal)):
            parameter, gradient = self.parameters[place], gradients[place]
            moment = self._moments["first"][place]
            moment.mul_(MUON_MOMENTUM).add_(gradient)
            matrices = gradient.add(moment, alpha=MUON_MOMENTUM).flatten(2)
            update = newton_schulz(matrices, keras=self.semantics == "keras").view_as(parameter)
            if self.ratios is not None:
                update = update * self.ratios[place]
            factor = self.factors["rate"] * step_scale(matrices, self.semantics)
            if isinstance(factor, Tensor):
                parameter.sub_(update * factor)
            else:
                parameter.add_(update, alpha=-factor)


def _per_run(values: Sequence[float], parameters: list[Tensor]) -> list[Tensor]:
    """One value per run, broadcast over each parameter of shape (R, …)."""
    return [
        torch.tensor(values, dtype=p.dtype, device=p.device).view(-1, *[1] * (p.ndim - 1))
        for p in parameters
    ]
