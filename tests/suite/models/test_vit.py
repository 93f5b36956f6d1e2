"""The vision transformer against timm's of the same sizes, and where its numbers start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close
from vit_reference import is_kernel, is_orthogonalised, timms_name, timms_own, with_numbers

from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig, parse
from suite.engine.optimizers import orthogonalised
from suite.models import build
from suite.models.initialization import initial_parameter
from suite.models.specs import Network

# Settings, then channels, height and width of the images.
SHAPES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "digits": ({}, (1, 8, 8)),
    "one block": ({"depth": 1, "patch_size": 4}, (1, 8, 8)),
    "one patch, one head": ({"num_heads": 1, "patch_size": 8}, (1, 8, 8)),
    "colours": ({"patch_size": 8, "depth": 3, "mlp_ratio": 2.5}, (3, 32, 32)),
    "higher than wide": ({"patch_size": 4, "num_heads": 8}, (3, 12, 8)),
}
CLASSES = 5


def some_run(**changes: Any) -> RunConfig:
    return parse({"model": "vit", "embed_dim": 16, "semantics": "torch"} | changes)


def numbers_of(config: RunConfig, network: Network) -> dict[str, Tensor]:
    """Initial numbers, those that start at 0 or 1 moved so that all have an effect."""
    stream = torch.Generator().manual_seed(config.seed)
    numbers = {}
    for spec in network.parameters:
        start = initial_parameter(config, spec, torch.float64)
        moved = torch.randn(spec.shape, generator=stream, dtype=torch.float64)
        numbers[spec.name] = start + 0.3 * moved if spec.kind == "other" else start
    return numbers


@pytest.mark.parametrize("global_pool", ["token", "avg"])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_and_gradients_of_runs_side_by_side_are_those_of_timms_modules(
    shape: str, global_pool: str
) -> None:
    settings, images_shape = SHAPES[shape]
    configs = [
        some_run(seed=seed, sigma_w=1 + seed, global_pool=global_pool, **settings)
        for seed in (0, 1)
    ]
    network = build(configs[0], *images_shape, CLASSES)
    numbers = [numbers_of(config, network) for config in configs]
    stacked = {n: torch.stack([own[n] for own in numbers]).requires_grad_() for n in numbers[0]}
    stream = torch.Generator().manual_seed(7)
    images = torch.rand(6, 2, *images_shape, dtype=torch.float64, generator=stream)
    labels = torch.tensor([[0, 1], [2, 3], [4, 0], [1, 2], [3, 4], [0, 0]])
    scores = network.logits(stacked, {}, images, training=True)
    functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    assert_close(network.inference(stacked, {})(images), scores, rtol=0, atol=0)
    for run, own in enumerate(numbers):
        module = with_numbers(timms_own(configs[run], *images_shape, CLASSES), network, own)
        theirs = module(images[:, run])
        assert_close(scores[:, run], theirs, rtol=0, atol=1e-9)
        functional.cross_entropy(theirs, labels[:, run], reduction="sum").backward()
        slopes = {name: value.grad for name, value in module.named_parameters()}
        for name, value in stacked.items():
            assert value.grad is not None
            assert_close(value.grad[run], slopes[timms_name(name)], rtol=0, atol=1e-9)


def test_biases_of_keys_which_the_softmax_cancels_have_no_gradient_at_all() -> None:
    config = some_run(precision="fp32")
    network = build(config, 1, 8, 8, CLASSES)
    numbers = {n: v.float()[None].requires_grad_() for n, v in numbers_of(config, network).items()}
    network.logits(numbers, {}, torch.rand(4, 1, 1, 8, 8), training=True).square().sum().backward()
    for block in range(config.depth):
        slope = numbers[f"blocks.{block}.attn.qkv.bias"].grad
        assert slope is not None
        query, key, value = slope.view(3, config.embed_dim)
        assert not key.any()
        assert query.all()
        assert value.all()


def test_matrices_follow_sigma_w_and_embeddings_start_as_small_whatever_it_is() -> None:
    small, large = (
        {
            spec.name: (spec, initial_parameter(config, spec, torch.float64))
            for spec in build(config, 3, 16, 16, 10).parameters
        }
        for config in (some_run(embed_dim=64, sigma_w=s, seed=5) for s in (0.5, 2.0))
    )
    matrices = {name for name, (spec, _) in small.items() if spec.kind == "kernel"}
    assert {timms_name(n) for n in matrices} == {
        timms_name(n) for n in small if is_kernel(timms_name(n))
    }
    for name in matrices:
        spec, draw = small[name]
        assert torch.equal(4 * draw, large[name][1])
        error = (2 * (spec.size - 1)) ** -0.5
        assert abs(float(draw.std()) * draw[0].numel() ** 0.5 / 0.5 - 1) < 5 * error
    for name in ("cls_token", "pos_embed"):
        spec, draw = small[name]
        assert spec.kind == "other"
        assert torch.equal(draw, large[name][1])
        assert abs(float(draw.std()) / 0.02 - 1) < 5 * (2 * (spec.size - 1)) ** -0.5
    other = build(some_run(embed_dim=64, seed=6), 3, 16, 16, 10).parameters
    assert not torch.equal(torch.as_tensor(other[1].initial), small["pos_embed"][1])


@pytest.mark.parametrize("optimizer", ["muon", "muon_keras"])
@pytest.mark.parametrize("channels", [1, 3])
def test_muon_takes_the_matrices_inside_the_blocks(optimizer: str, channels: int) -> None:
    network = build(some_run(patch_size=4), channels, 8, 8, 10)
    taken = {timms_name(s.name) for s in network.parameters if orthogonalised(optimizer, s)}
    names = {timms_name(spec.name) for spec in network.parameters}
    assert taken == {name for name in names if is_orthogonalised(optimizer, name)}
    assert len(taken) == 4 * 2 + (optimizer == "muon_keras")


@pytest.mark.parametrize(
    ("patch_size", "height", "width", "remedy"),
    [(3, 8, 8, "1 or 2 or 4 or 8"), (16, 8, 8, "1 or 2 or 4 or 8"), (4, 12, 10, "1 or 2")],
)
def test_images_that_patches_do_not_cover_are_refused_in_one_line(
    patch_size: int, height: int, width: int, remedy: str
) -> None:
    with pytest.raises(ConfigError) as error:
        build(some_run(patch_size=patch_size), 1, height, width, 10)
    assert str(error.value) == (
        f"patch_size: must divide the images' {height}×{width} pixels, got {patch_size}; "
        f"give {remedy}"
    )
