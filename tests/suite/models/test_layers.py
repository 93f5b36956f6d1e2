"""Layers against Keras's own values and PyTorch's stock modules, alone and side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.testing import assert_close

from suite.declarations.config import parse
from suite.models import build
from suite.models.layers import (
    SEMANTICS,
    BatchNorm,
    Convolution,
    Dense,
    LayerNorm,
    State,
)
from suite.models.resnet import BasicBlock, ResNet9

Arrays = Mapping[str, NDArray[np.float64]]
Tensors = Mapping[str, Tensor]

# (R, which of the R runs holds the reference's numbers); the others hold something else.
PLACES = [(1, 0), (3, 0), (3, 1), (3, 2)]
in_company = pytest.mark.parametrize(("runs", "place"), PLACES)
fleets = pytest.mark.parametrize("runs", [1, 3])


def tensors(values: Arrays, case: str) -> dict[str, Tensor]:
    """The reference's arrays of one case, without the case in their names."""
    prefix = f"{case}/"
    return {
        key.removeprefix(prefix): torch.from_numpy(value)
        for key, value in values.items()
        if key.startswith(prefix)
    }


def in_fleet(value: Tensor, runs: int, place: int, seed: int = 0) -> Tensor:
    """`value` at `place` of a leading run axis, strangers elsewhere."""
    stack = torch.randn((runs, *value.shape), generator=torch.Generator().manual_seed(seed))
    stack = stack.to(value.dtype)
    stack[place] = value
    return stack


def side_by_side(images: Tensor) -> Tensor:
    """R batches (R, batch, C, …) in the channel axis."""
    return torch.cat(images.unbind(), dim=1)


def pick(activations: Tensor, runs: int, place: int) -> Tensor:
    """One run's part of the channel axis."""
    return activations.chunk(runs, dim=1)[place]


def norm_state(given: Tensors, runs: int, place: int, *, training: bool = True) -> State:
    channels = given["scale"].shape[0]
    return State(
        parameters={
            f"norm.{name}": in_fleet(given[name], runs, place, seed)
            for seed, name in enumerate(("scale", "shift"))
        },
        buffers={
            "norm.mean": torch.zeros(runs, channels, dtype=torch.float64),
            "norm.variance": torch.ones(runs, channels, dtype=torch.float64),
        },
        runs=runs,
        training=training,
    )


@in_company
def test_batch_norm_and_its_biased_running_variance_are_kerass(
    keras_values: Arrays, runs: int, place: int
) -> None:
    given = tensors(keras_values, "batchnorm")
    layer = BatchNorm("norm", 3, SEMANTICS["keras"])
    state = norm_state(given, runs, place)
    for call, images in enumerate(given["input"]):
        x = side_by_side(in_fleet(images, runs, place, 10 + call))
        output = pick(layer(state, x), runs, place)
        assert_close(output, given["output"][call], rtol=0, atol=1e-12)
        mean, variance = state.buffers["norm.mean"], state.buffers["norm.variance"]
        assert_close(mean[place], given["running_mean"][call], rtol=1e-12, atol=1e-14)
        assert_close(variance[place], given["running_variance"][call], rtol=1e-12, atol=1e-14)


@in_company
def test_batch_norm_in_inference_mode_is_kerass_and_leaves_the_running_values(
    keras_values: Arrays, runs: int, place: int
) -> None:
    given = tensors(keras_values, "batchnorm")
    state = norm_state(given, runs, place, training=False)
    state.buffers["norm.mean"][place] = given["running_mean"][-1]
    state.buffers["norm.variance"][place] = given["running_variance"][-1]
    before = {name: value.clone() for name, value in state.buffers.items()}
    x = side_by_side(in_fleet(given["input"][0], runs, place))
    output = BatchNorm("norm", 3, SEMANTICS["keras"])(state, x)
    assert_close(pick(output, runs, place), given["inference_output"], rtol=0, atol=1e-12)
    assert_close(dict(state.buffers), before, rtol=0, atol=0)


@in_company
def test_layer_norm_is_kerass(keras_values: Arrays, runs: int, place: int) -> None:
    given = tensors(keras_values, "layernorm")
    x = side_by_side(in_fleet(given["input"], runs, place))
    output = LayerNorm("norm", 5, SEMANTICS["keras"])(norm_state(given, runs, place), x)
    assert_close(pick(output, runs, place), given["output"], rtol=0, atol=1e-12)


@in_company
@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("size", [3, 1])
def test_strided_convolution_pads_like_kerass_same(
    keras_values: Arrays, runs: int, place: int, size: int, side: int
) -> None:
    given = tensors(keras_values, f"strided/{size}x{size}_on_{side}")
    layer = Convolution("conv", 2, 3, size, 2, SEMANTICS["keras"])
    parameters = {
        f"conv.{name}": in_fleet(given[name], runs, place, seed)
        for seed, name in enumerate(("kernel", "bias"))
    }
    x = side_by_side(in_fleet(given["input"], runs, place, 2))
    output = layer(State(parameters, {}, runs, training=True), x)
    assert_close(pick(output, runs, place), given["output"], rtol=0, atol=1e-12)


def test_each_side_of_an_oblong_image_gets_its_own_padding() -> None:
    generator = torch.Generator().manual_seed(5)
    module = random_(nn.Conv2d(2, 3, 3, 2), generator)
    images = torch.randn(4, 2, 8, 7, generator=generator, dtype=torch.float64)
    padded = torch.zeros(4, 2, 9, 9, dtype=torch.float64)
    padded[:, :, 0:8, 1:8] = images  # rows (0, 1), columns (1, 1), as for 8 and 7 by themselves
    state = State(stacked([module], "kernel", "bias"), {}, 1, training=True)
    output = Convolution("layer", 2, 3, 3, 2, SEMANTICS["keras"])(state, images)
    assert_close(output, module(padded), rtol=0, atol=1e-12)


@in_company
def test_residual_block_at_a_stage_change_is_kerass(
    keras_values: Arrays, runs: int, place: int
) -> None:
    given = tensors(keras_values, "resnet_block")
    names = {"conv1": "block.a", "conv2": "block.b", "shortcut": "block.projection"}
    parameters = {}
    for seed, (key, value) in enumerate(given.items()):
        layer, _, part = key.partition(".")
        if layer in names:
            parameters[f"{names[layer]}.{part}"] = in_fleet(value, runs, place, seed)
    block = BasicBlock("block", 3, 4, 2, "batch", SEMANTICS["keras"])
    assert set(parameters) == {spec.name for layer in block for spec in layer.parameters()}
    buffers = {
        spec.name: torch.full((runs, *spec.shape), float(spec.initial), dtype=torch.float64)
        for layer in block
        for spec in layer.buffers()
    }
    x = side_by_side(in_fleet(given["input"], runs, place))
    output = block(State(parameters, buffers, runs, training=True), x)
    assert_close(pick(output, runs, place), given["output"], rtol=0, atol=1e-12)


def random_(module: nn.Module, generator: torch.Generator) -> nn.Module:
    for value in module.parameters():
        nn.init.normal_(value, 0.3, 0.5, generator=generator)
    return module.double()


def stacked(modules: Sequence[nn.Module], kernel: str, bias: str) -> dict[str, Tensor]:
    return {
        f"layer.{ours}": torch.stack([getattr(m, theirs).detach() for m in modules])
        for ours, theirs in ((kernel, "weight"), (bias, "bias"))
    }


@fleets
def test_batch_norm_in_torch_semantics_is_torchs(runs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    modules = [random_(nn.BatchNorm2d(3), generator) for _ in range(runs)]
    parameters = stacked(modules, "scale", "shift")
    buffers = {
        "layer.mean": torch.zeros(runs, 3, dtype=torch.float64),
        "layer.variance": torch.ones(runs, 3, dtype=torch.float64),
    }
    layer = BatchNorm("layer", 3, SEMANTICS["torch"])
    for training in (True, True, True, False):
        images = torch.randn(runs, 4, 3, 2, 5, generator=generator, dtype=torch.float64)
        images[:, :, 0] *= 1e-3  # so that ε counts
        output = layer(State(parameters, buffers, runs, training), side_by_side(images))
        for run, module in enumerate(modules):
            expected = module.train(training)(images[run])
            assert_close(pick(output, runs, run), expected, rtol=0, atol=1e-12)
            assert_close(buffers["layer.mean"][run], module.running_mean, rtol=0, atol=1e-14)
            assert_close(buffers["layer.variance"][run], module.running_var, rtol=0, atol=1e-14)


@fleets
def test_layer_norm_in_torch_semantics_is_torchs_over_channels_last(runs: int) -> None:
    generator = torch.Generator().manual_seed(1)
    modules = [random_(nn.LayerNorm(5), generator) for _ in range(runs)]
    images = torch.randn(runs, 4, 5, 2, 3, generator=generator, dtype=torch.float64)
    images[:, 0] *= 1e-3
    state = State(stacked(modules, "scale", "shift"), {}, runs, training=True)
    output = LayerNorm("layer", 5, SEMANTICS["torch"])(state, side_by_side(images))
    for run, module in enumerate(modules):
        expected = module(images[run].movedim(1, -1)).movedim(-1, 1)
        assert_close(pick(output, runs, run), expected, rtol=0, atol=1e-12)


@fleets
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 2)])
@pytest.mark.parametrize("sides", [(8, 8), (7, 5)])
def test_convolution_in_torch_semantics_is_torchs(
    runs: int, size: int, stride: int, sides: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(2)
    modules = [
        random_(nn.Conv2d(2, 3, size, stride, padding=size // 2), generator) for _ in range(runs)
    ]
    images = torch.randn(runs, 4, 2, *sides, generator=generator, dtype=torch.float64)
    state = State(stacked(modules, "kernel", "bias"), {}, runs, training=True)
    layer = Convolution("layer", 2, 3, size, stride, SEMANTICS["torch"])
    output = layer(state, side_by_side(images))
    for run, module in enumerate(modules):
        assert_close(pick(output, runs, run), module(images[run]), rtol=0, atol=1e-12)


def test_unstrided_convolution_is_the_same_in_both_semantics() -> None:
    generator = torch.Generator().manual_seed(3)
    state = State(stacked([random_(nn.Conv2d(2, 3, 3), generator)], "kernel", "bias"), {}, 1, True)
    images = torch.randn(4, 2, 6, 5, generator=generator, dtype=torch.float64)
    outputs = [
        Convolution("layer", 2, 3, 3, 1, rules)(state, images) for rules in SEMANTICS.values()
    ]
    assert torch.equal(*outputs)


@fleets
def test_dense_is_torchs_linear(runs: int) -> None:
    generator = torch.Generator().manual_seed(4)
    modules = [random_(nn.Linear(6, 5), generator) for _ in range(runs)]
    features = torch.randn(runs, 4, 6, generator=generator, dtype=torch.float64)
    state = State(stacked(modules, "kernel", "bias"), {}, runs, training=True)
    scores = Dense("layer", 6, 5)(state, side_by_side(features))
    assert scores.shape == (4, runs, 5)
    for run, module in enumerate(modules):
        assert_close(scores[:, run], module(features[run]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("semantics", ["keras", "torch"])
def test_convolution_and_batch_norm_in_one_are_the_two_in_turn(semantics: str) -> None:
    rules, stream = SEMANTICS[semantics], torch.Generator().manual_seed(3)
    convolution, norm = Convolution("c", 2, 3, 3, 1, rules), BatchNorm("n", 3, rules)
    parameters = {
        spec.name: torch.randn((2, *spec.shape), generator=stream, dtype=torch.float64)
        for layer in (convolution, norm)
        for spec in layer.parameters()
    }
    stock = nn.BatchNorm2d(
        6, eps=rules.batch_norm_epsilon, momentum=1 - rules.norm_momentum
    ).double()
    with torch.no_grad():
        stock.weight.copy_(parameters["n.scale"].flatten())
        stock.bias.copy_(parameters["n.shift"].flatten())
    buffers = {
        "n.mean": torch.zeros(2, 3, dtype=torch.float64),
        "n.variance": torch.ones(2, 3, dtype=torch.float64),
    }
    for training in (True, True, False):
        state = State(parameters, buffers, runs=2, training=training)
        x = torch.randn((4, 4, 5, 5), generator=stream, dtype=torch.float64)
        stock.train(training)
        kernel, bias = parameters["c.kernel"].flatten(0, 1), parameters["c.bias"].flatten()
        convolved = F.conv2d(x, kernel, bias, padding=1, groups=2)
        before = stock.running_var.clone() if stock.running_var is not None else None
        expected = stock(convolved)
        if training and rules.biased_running_variance:
            biased = convolved.var((0, 2, 3), correction=0)
            stock.running_var = torch.lerp(before, biased, 1 - rules.norm_momentum)
        assert_close(norm.convolved(state, convolution, x), expected, rtol=0, atol=1e-12)
        assert_close(buffers["n.mean"].flatten(), stock.running_mean, rtol=0, atol=1e-13)
        assert_close(buffers["n.variance"].flatten(), stock.running_var, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("semantics", "momentum"), [("keras", 0.7), ("torch", 0.5)])
def test_a_chosen_norm_momentum_is_that_of_stock_running_statistics(
    semantics: str, momentum: float
) -> None:
    config = parse({"semantics": semantics, "norm_momentum": momentum})
    network = build(config, 1, 8, 8, 10)
    assert isinstance(network, ResNet9)
    norm = network.blocks["conv1"].norm
    assert isinstance(norm, BatchNorm)
    stock = nn.BatchNorm2d(8, momentum=1 - momentum).double()  # torch's is the complement
    parameters = {f"{norm.name}.{part}": torch.ones(1, 8).double() for part in ("scale", "shift")}
    buffers = {
        f"{norm.name}.mean": torch.zeros(1, 8).double(),
        f"{norm.name}.variance": torch.ones(1, 8).double(),
    }
    keras_variance = torch.ones(8).double()
    for call in range(3):
        stream = torch.Generator().manual_seed(call)
        x = torch.randn((5, 8, 4, 4), generator=stream, dtype=torch.float64) + call
        norm(State(parameters, buffers, runs=1, training=True), x)
        stock(x)
        # Keras: moving = moving · momentum + batch · (1 − momentum), without Bessel's correction.
        keras_variance = keras_variance * momentum + x.var((0, 2, 3), correction=0) * (1 - momentum)
    expected = keras_variance if semantics == "keras" else stock.running_var
    assert_close(buffers[f"{norm.name}.mean"][0], stock.running_mean, rtol=0, atol=1e-14)
    assert_close(buffers[f"{norm.name}.variance"][0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_layer_norm_takes_its_statistics_of_bfloat16_activations_in_fp32(mean: float) -> None:
    stream = torch.Generator().manual_seed(0)
    x = (torch.randn((4, 2 * 64, 3, 3), generator=stream) + mean).bfloat16()
    ones, zeros = torch.ones(2, 64), torch.zeros(2, 64)
    state = State({"norm.scale": ones, "norm.shift": zeros}, {}, runs=2, training=True)
    found = LayerNorm("norm", 64, SEMANTICS["torch"])(state, x)
    assert found.dtype == torch.bfloat16
    pixels = x.double().unflatten(1, (2, 64)).movedim(2, -1)
    exact = F.layer_norm(pixels, (64,), eps=1e-5).movedim(-1, 2).flatten(1, 2)
    # What is left is that the result is written in eight bits.
    assert_close(found.double(), exact, rtol=2**-8, atol=1e-6)
