"""What kernels start from, against SciPy's distributions, torch.nn.init and closed forms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from suite.basics.randomness import generator
from suite.data.splits import load
from suite.declarations.config import RunConfig, parse
from suite.engine.fleet import Fleet
from suite.models import build
from suite.models.initialization import initial_parameter
from suite.models.specs import ParameterSpec

# More outputs than inputs, fewer, as many; convolutions, also depthwise.
SHAPES = ((96, 40), (40, 96), (64, 64), (96, 4, 3, 3), (24, 8, 3, 3), (48, 1, 5, 5))
TRUNCATED_DEVIATION = float(stats.truncnorm(-2, 2).std())
# Of variance 1, by SciPy.
DISTRIBUTIONS: Mapping[str, Any] = {
    "normal": stats.norm(),
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "truncated_normal": stats.truncnorm(-2, 2, scale=1 / TRUNCATED_DEVIATION),
}
ALL = (*DISTRIBUTIONS, "orthogonal")


def kernel(shape: tuple[int, ...], name: str = "k", **changes: Any) -> Tensor:
    spec = ParameterSpec(name, shape, "kernel", math.prod(shape[1:]))
    return initial_parameter(parse(changes), spec, torch.float64)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("sigma_w", [0.1, 2.5])
def test_kernels_are_drawn_from_the_distribution_with_variance_sigma_w_squared_over_fan_in(
    name: str, sigma_w: float
) -> None:
    draw = kernel((200, 100), sigma_w=sigma_w, kernel_distribution=name).flatten().numpy()
    expected = DISTRIBUTIONS[name]
    assert expected.var() == pytest.approx(1.0, rel=1e-12)
    scaled = draw * 10 / sigma_w
    assert stats.kstest(scaled, expected.cdf).pvalue > 1e-3
    low, high = expected.support()
    assert low - 1e-12 <= scaled.min()
    assert scaled.max() <= high + 1e-12
    for other in set(DISTRIBUTIONS) - {name}:
        assert stats.kstest(scaled, DISTRIBUTIONS[other].cdf).pvalue < 1e-3
    # Five standard errors of a variance of n draws.
    error = math.sqrt((expected.stats("k") + 2) / len(draw))
    assert np.mean(scaled**2) == pytest.approx(1.0, abs=5 * error)


def test_truncated_normal_kernels_are_distributed_as_torchs() -> None:
    ours = kernel((200, 100), kernel_distribution="truncated_normal").flatten()
    theirs = torch.nn.init.trunc_normal_(
        torch.empty(20_000, dtype=torch.float64), a=-2.0, b=2.0, generator=generator(3, "torch")
    )
    theirs *= 0.1 / TRUNCATED_DEVIATION
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert float(ours.abs().max()) <= 0.2 / TRUNCATED_DEVIATION


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal_kernels_have_orthonormal_rows_or_columns_times_a_number(
    shape: tuple[int, ...],
) -> None:
    """The matrix (outputs, fan_in) of torch.nn.init; Keras's (fan_in, outputs) is its transpose."""
    draw = kernel(shape, sigma_w=0.7, kernel_distribution="orthogonal")
    fan_in = math.prod(shape[1:])
    matrix = draw.reshape(shape[0], fan_in)
    short = matrix if shape[0] <= fan_in else matrix.T
    gram = short @ short.T
    scale = 0.49 / fan_in * max(matrix.shape)
    assert_close(gram, scale * torch.eye(len(short), dtype=torch.float64), rtol=0, atol=1e-12)
    assert float(draw.square().mean()) == pytest.approx(0.49 / fan_in, rel=1e-12)
    reference = torch.empty(shape, dtype=torch.float64)
    torch.nn.init.orthogonal_(
        reference, math.sqrt(scale), generator=generator(0, "initialization", "k")
    )
    assert_close(draw, reference, rtol=1e-12, atol=1e-14)


def test_orthogonal_kernels_are_uniform_over_rotations() -> None:
    """So that one entry of a 3×3 rotation or reflection is uniform between −1 and 1."""
    seeds = (kernel((3, 3), seed=seed, kernel_distribution="orthogonal") for seed in range(400))
    entries = np.array([float(draw[1, 2]) for draw in seeds])
    assert stats.kstest(entries, stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_kernels_of_one_seed_are_proportional_and_those_of_others_are_not(name: str) -> None:
    small, double = (kernel((9, 7), sigma_w=s, kernel_distribution=name) for s in (0.3, 0.6))
    assert torch.equal(2 * small, double)
    assert not torch.isclose(
        small, kernel((9, 7), sigma_w=0.3, seed=1, kernel_distribution=name)
    ).any()
    assert not torch.isclose(
        small, kernel((9, 7), "other", sigma_w=0.3, kernel_distribution=name)
    ).any()


def test_the_normal_draw_and_the_biases_are_what_they_have_always_been() -> None:
    stream = generator(5, "initialization", "k")
    normal = torch.randn((6, 2, 3, 3), generator=stream, dtype=torch.float64)
    assert torch.equal(kernel((6, 2, 3, 3), seed=5, sigma_w=1.8), 1.8 * 18**-0.5 * normal)
    stream = generator(5, "initialization", "b")
    shifts = torch.randn((6,), generator=stream, dtype=torch.float64)
    for name in ALL:
        config = parse({"seed": 5, "kernel_distribution": name, "sigma_b": 0.3})
        bias = initial_parameter(config, ParameterSpec("b", (6,), "bias"), torch.float64)
        assert torch.equal(bias, 0.3 * shifts)


def kernels(config: RunConfig) -> dict[str, Tensor]:
    network = build(config, 3, 8, 8, 10)
    return {
        spec.name: initial_parameter(config, spec, torch.float64)
        for spec in network.parameters
        if spec.kind == "kernel"
    }


def ratios(model: str, **changes: Any) -> dict[str, float]:
    """By what each kernel of a run is larger than that of its twin."""
    plain = parse({"model": model, "width": 2, "sigma_w": 0.5, "seed": 3})
    before, after = kernels(plain), kernels(plain.with_(**changes))
    found = {}
    for name, draw in after.items():
        factor = float(draw.norm() / before[name].norm())
        assert_close(draw, factor * before[name], rtol=1e-12, atol=0)
        found[name] = factor
    return found


@pytest.mark.parametrize("exponent", [-1.0, 0.5])
@pytest.mark.parametrize("model", ["resnet9", "r9-avgpool", "resnet56"])
def test_layer_scaling_is_a_power_of_depth_that_keeps_the_product_of_all_scales(
    model: str, exponent: float
) -> None:
    found = list(ratios(model, layer_scaling=exponent).values())
    for place, factor in enumerate(found, start=1):
        assert factor / found[0] == pytest.approx(place**exponent, rel=1e-12)
    assert math.prod(found) == pytest.approx(1.0, rel=1e-10)
    assert len(found) == {"resnet56": 55 + 2 + 1}.get(model, 9)


def test_depth_counts_kernels_in_the_order_of_computing_with_projections_after_their_branch() -> (
    None
):
    names = list(ratios("resnet56", layer_scaling=1.0))
    assert names[:3] == ["stem.kernel", "stage1.1.a.kernel", "stage1.1.b.kernel"]
    assert names[19:23] == [f"stage2.1.{part}.kernel" for part in ("a", "b", "projection")] + [
        "stage2.2.a.kernel"
    ]
    assert names[-1] == "head.kernel"
    expected = ["conv1", "conv2", "res1a", "res1b", "conv3", "conv4", "res2a", "res2b", "head"]
    assert list(ratios("resnet9")) == [f"{name}.kernel" for name in expected]


@pytest.mark.parametrize("model", ["resnet9", "resnet110"])
def test_head_scale_is_a_factor_of_the_classifiers_kernel_alone(model: str) -> None:
    found = ratios(model, head_scale=7.0)
    assert found.pop("head.kernel") == pytest.approx(7.0, rel=1e-14)
    assert set(found.values()) == {1.0}


def test_a_run_starts_alike_in_a_fleet_whose_other_runs_start_otherwise() -> None:
    data = load("digits", None, train_fraction=0.05)
    plain = parse({"width": 2, "batch_size": 8, "epochs": 1})
    configs = [
        plain,
        plain.with_(kernel_distribution="orthogonal", seed=2),
        plain.with_(layer_scaling=-0.5, sigma_b=1.0),
        plain.with_(head_scale=10.0, kernel_distribution="uniform"),
    ]
    together = Fleet(configs, data, torch.device("cpu")).states()
    for config, state in zip(configs, together, strict=True):
        (alone,) = Fleet([config], data, torch.device("cpu")).states()
        assert_close(state.tensors, alone.tensors, rtol=0, atol=0)
