"""How deep each kernel stands in its network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from suite.models.specs import ParameterSpec


def with_depths(specs: Sequence[ParameterSpec]) -> tuple[ParameterSpec, ...]:
    """The parameters with the depth of each kernel: its place l = 1, …, L over (L!)^(1/L).

    Parameters
    ----------
    specs
        In the order in which the network computes. A shortcut's projection follows the branch
        beside it; the classifier is the last kernel.
    """
    kernels = [spec.name for spec in specs if spec.kind == "kernel"]
    middle = math.exp(math.lgamma(len(kernels) + 1) / len(kernels))
    depths = {name: place / middle for place, name in enumerate(kernels, start=1)}
    return tuple(replace(spec, relative_depth=depths.get(spec.name, 1.0)) for spec in specs)
