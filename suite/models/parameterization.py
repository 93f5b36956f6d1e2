"""μP, the maximal update parameterization: how initial scales and rates follow the width.

Yang et al. 2022 (arXiv 2203.03466), Table 3, with standard parameterization in brackets:

=============  ========================  =======================  ================
of             input weights, all biases  output weights           hidden weights
=============  ========================  =======================  ================
initial var.   1/fan_in                  1/fan_in² (1/fan_in)     1/fan_in
rate of SGD    fan_out (1)               1/fan_in (1)             1
rate of Adam   1                         1/fan_in (1)             1/fan_in (1)
=============  ========================  =======================  ================

It is the form that needs no multiplier in the network; their Table 8 has one on the output and
trains the same function. fan_in and fan_out count what grows with the width alone, as multiples of
what they are at a base width; there, μP and the standard parameterization are one. A norm's scale
and shift are vectors, as biases are. What grows is seen by building the network at both widths, as
in the authors' `mup`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from suite.declarations.update_constants import ADAPTIVE
from suite.models.specs import ParameterSpec


def with_growths(
    specs: Sequence[ParameterSpec], base: Sequence[ParameterSpec]
) -> tuple[ParameterSpec, ...]:
    """The parameters with how their inputs and outputs have grown.

    Parameters
    ----------
    specs, base
        Of one architecture at its own and at the base width.
    """
    return tuple(_grown(*pair) for pair in zip(specs, base, strict=True))


def _grown(spec: ParameterSpec, base: ParameterSpec) -> ParameterSpec:
    if spec.kind != "kernel":
        return replace(spec, outputs_growth=spec.size / base.size)
    return replace(
        spec,
        inputs_growth=spec.fan_in / base.fan_in,
        outputs_growth=spec.shape[0] / base.shape[0],
    )


def initial_factor(spec: ParameterSpec) -> float:
    """By what μP multiplies a kernel's initial scale σw/√fan_in: √(base/width) for the head."""
    return math.sqrt(1.0 / spec.inputs_growth) if spec.classifier else 1.0


def rate_factor(optimizer: str, spec: ParameterSpec) -> float:
    """By what μP multiplies the learning rate of a parameter."""
    if optimizer in ADAPTIVE:
        return 1.0 / spec.inputs_growth
    return spec.outputs_growth / spec.inputs_growth
