"""μP's scales and rates against the published table."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from suite.declarations.config import RunConfig, parse
from suite.models import build
from suite.models.initialization import initial_parameter
from suite.models.parameterization import initial_factor, rate_factor
from suite.models.specs import ParameterSpec

RESNETS = ("resnet9", "r9-avgpool", "resnet56", "resnet110")
FIRST = {"resnet9": "conv1", "r9-avgpool": "conv1", "resnet56": "stem", "resnet110": "stem"}


def specs_of(config: RunConfig) -> tuple[ParameterSpec, ...]:
    return build(config, 3, 8, 8, 10).parameters


def of_layer(model: str, name: str) -> str:
    """Which column of the table a parameter belongs to."""
    if name == "head.bias":
        return "bias of the output"
    if name == "head.kernel":
        return "output"
    if name == f"{FIRST[model]}.kernel":
        return "input"
    return "hidden" if name.endswith(".kernel") else "vector"


# Yang et al. 2022, Table 3, at three times the base width: factors of the initial variance and of
# the rates of SGD and Adam. fan_in of a bias is 1; the output's bias grows in no way.
TABLE: dict[str, tuple[float, float, float]] = {
    "input": (1, 3, 1),
    "vector": (1, 3, 1),
    "bias of the output": (1, 1, 1),
    "output": (1 / 3, 1 / 3, 1 / 3),
    "hidden": (1, 1, 1 / 3),
}


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("model", RESNETS)
def test_scales_and_rates_are_those_of_the_published_table(model: str, norm: str) -> None:
    fixed = {"model": model, "norm": norm, "parameterization": "mup"}
    specs = specs_of(parse(fixed | {"width": 12, "mup_base_width": 4}))
    met = set()
    for spec in specs:
        column = of_layer(model, spec.name)
        variance, sgd, adam = TABLE[column]
        assert rate_factor("sgd", spec) == rate_factor("momentum", spec) == pytest.approx(sgd)
        assert rate_factor("adam", spec) == rate_factor("adamw", spec) == pytest.approx(adam)
        if spec.kind == "kernel":
            assert initial_factor(spec) ** 2 == pytest.approx(variance)
        met.add(column)
    assert met == set(TABLE)


@pytest.mark.parametrize("width", [2, 6, 16])
def test_kernels_start_as_in_standard_parameterization_but_for_the_head(width: int) -> None:
    plain = parse({"width": width, "seed": 4, "sigma_w": 1.8})
    maximal = plain.with_(parameterization="mup", mup_base_width=6)
    pairs = zip(specs_of(plain), specs_of(maximal), strict=True)
    for ours, theirs in pairs:
        before = initial_parameter(plain, ours, torch.float64)
        after = initial_parameter(maximal, theirs, torch.float64)
        if ours.name == "head.kernel":  # larger where the network is narrower than at its base
            torch.testing.assert_close(after, before * (6 / width) ** 0.5, rtol=1e-14, atol=0)
        else:
            assert torch.equal(after, before)


@pytest.mark.parametrize(("model", "width"), [("resnet9", 0), ("resnet56", 5)])
def test_at_the_base_width_mup_is_standard(model: str, width: int) -> None:
    fixed: dict[str, Any] = {"model": model, "width": width}
    plain = parse(fixed)
    maximal = plain.with_(parameterization="mup", mup_base_width=plain.channels)
    assert specs_of(maximal) == specs_of(plain)
    for spec in specs_of(maximal):
        assert initial_factor(spec) == rate_factor("sgd", spec) == rate_factor("adam", spec) == 1
