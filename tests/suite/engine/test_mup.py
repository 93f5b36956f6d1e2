"""Training under μP: rates of each parameter's own, and the coordinate check over widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suite.data.splits import ImageData, load
from suite.declarations.config import RunConfig, parse
from suite.engine.fleet import Fleet
from suite.engine.layout import Layout
from suite.engine.optimizers import Optimizer, arranged
from suite.models.layers import State
from suite.models.resnet import ResNet9
from suite.models.specs import ParameterSpec

CPU = torch.device("cpu")
RULES = ("sgd", "momentum", "adam", "adamw")


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load("digits", None, train_fraction=0.2)


# --- Rates --------------------------------------------------------------------------------------

# At three times the base width. What a rate is multiplied with: SGD's and Adam's.
SPECS = (
    ParameterSpec("in", (6, 2), "kernel", 2, outputs_growth=3.0),
    ParameterSpec("hidden", (6, 6), "kernel", 6, inputs_growth=3.0, outputs_growth=3.0),
    ParameterSpec("out", (4, 6), "kernel", 6, classifier=True, inputs_growth=3.0),
    ParameterSpec("vector", (6,), "bias", outputs_growth=3.0),
    ParameterSpec("constant", (4,), "bias"),
)
PLAIN_RATES = {"in": 3.0, "hidden": 1.0, "out": 1 / 3, "vector": 3.0, "constant": 1.0}
ADAM_RATES = {"in": 1.0, "hidden": 1 / 3, "out": 1 / 3, "vector": 1.0, "constant": 1.0}


def slope(value: Tensor, step: int) -> Tensor:
    phases = torch.arange(value.numel(), dtype=value.dtype).view_as(value)
    return 0.5 * value + torch.sin(0.1 * step + phases)


def start() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(7)
    return {s.name: torch.randn(s.shape, generator=stream, dtype=torch.float64) for s in SPECS}


def ours(configs: Sequence[RunConfig], *, replayable: bool) -> list[dict[str, Tensor]]:
    layout = Layout(arranged(configs[0].optimizer, SPECS), len(configs))
    theta = layout.pack([start()] * len(configs), torch.empty(0, dtype=torch.float64))
    optimizer = Optimizer(configs, layout, theta, replayable=replayable)
    for step in range(20):
        gradient = layout.pack(
            [
                {n: slope(v, step) for n, v in layout.unpack(theta, run).items()}
                for run in range(len(configs))
            ],
            theta,
        )
        optimizer.step(list(layout.views(gradient).values()), configs[0].learning_rate)
    return [layout.unpack(theta, run) for run in range(len(configs))]


def by_torch(config: RunConfig) -> dict[str, Tensor]:
    """torch.optim with a group for each parameter, as `mup` has them: decay is ηλw for all."""
    factors = ADAM_RATES if config.optimizer in ("adam", "adamw") else PLAIN_RATES
    parameters = {name: nn.Parameter(value) for name, value in start().items()}
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter],
            "lr": config.learning_rate * factors[name],
            "weight_decay": config.weight_decay / factors[name]
            if config.optimizer == "adamw"
            else 0.0,
        }
        for name, parameter in parameters.items()
    ]
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, foreach=False)
    elif config.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, foreach=False)
    else:
        friction = 0.9 if config.optimizer == "momentum" else 0.0
        optimizer = torch.optim.SGD(groups, momentum=friction, foreach=False)
    for step in range(20):
        for parameter in parameters.values():
            parameter.grad = slope(parameter.detach(), step)
        optimizer.step()
    return {name: parameter.detach() for name, parameter in parameters.items()}


@pytest.mark.parametrize("replayable", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_each_parameter_moves_at_its_own_rate_as_in_groups_of_torch_optim(
    rule: str, replayable: bool
) -> None:
    decay = {"weight_decay": 0.1} if rule == "adamw" else {}
    fixed = {"optimizer": rule, "semantics": "torch", "precision": "fp64", **decay}
    # Two rates in one fleet.
    configs = [parse(fixed | {"learning_rate": rate}) for rate in (1e-2, 3e-3)]
    for config, values in zip(configs, ours(configs, replayable=replayable), strict=True):
        expected = by_torch(config)
        for name, value in values.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", ["sgd", "momentum"])
def test_keras_plain_rules_multiply_the_rate_too(rule: str) -> None:
    """Without a change of rate, Keras's velocity is −η times torch's."""
    fixed: dict[str, Any] = {"optimizer": rule, "precision": "fp64", "learning_rate": 1e-2}
    keras, stock = (
        ours([parse(fixed | {"semantics": semantics})], replayable=False)[0]
        for semantics in ("keras", "torch")
    )
    for name, value in keras.items():
        torch.testing.assert_close(value, stock[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_at_the_base_width_training_is_standard_bit_for_bit(rule: str, data: ImageData) -> None:
    plain = parse({"optimizer": rule, "width": 4, "batch_size": 64, "epochs": 1})
    runs = [plain, plain.with_(parameterization="mup", mup_base_width=4)]
    weights = []
    for config in runs:
        fleet = Fleet([config], data, CPU)
        next(fleet.epochs())
        weights.append(fleet.best_theta)
    assert torch.equal(*weights)


# --- The coordinate check -----------------------------------------------------------------------


class Watched:
    """A layer that keeps what it last gave."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, state: State, x: Tensor) -> Tensor:
        self.seen: Tensor = self.layer(state, x)
        return self.seen


def activations(fleet: Fleet, images: Tensor) -> dict[str, Tensor]:
    """What each layer of a ResNet-9 gives for the images, after its normalization."""
    network = fleet.network
    assert isinstance(network, ResNet9)
    layers: dict[str, Any] = {**network.blocks, "head": network.head}
    watched: dict[str, Any] = {name: Watched(layer) for name, layer in layers.items()}
    network.head = watched["head"]
    network.blocks = {name: watched[name] for name in network.blocks}
    buffers = {name: value.clone() for name, value in fleet.buffers.items()}
    network.logits(fleet.layout.views(fleet.theta), buffers, images, training=True)
    network.head = layers["head"]
    network.blocks = {name: layers[name] for name in network.blocks}
    return {name: layer.seen for name, layer in watched.items()}


def slopes(
    data: ImageData, widths: Sequence[int], seeds: int, steps: int = 3, **settings: Any
) -> Mapping[str, float]:
    """By layer, the slope of log mean |change of activations| after some steps on log width."""
    sizes: dict[str, list[float]] = {}
    for width in widths:
        fixed = settings | {"width": width, "batch_size": 64, "schedule": "constant"}
        fleet = Fleet([parse(fixed | {"seed": seed}) for seed in range(seeds)], data, CPU)
        index = torch.arange(64).unsqueeze(1).expand(-1, seeds)
        images = fleet.step.inputs(index, None)
        before = activations(fleet, images)
        for _ in range(steps):
            fleet.advance(index, None, settings["learning_rate"])
        for name, after in activations(fleet, images).items():
            change = (after - before[name]).abs().mean()
            sizes.setdefault(name, []).append(float(change))
    log_width: NDArray[np.float64] = np.log(widths)
    return {name: float(np.polyfit(log_width, np.log(v), 1)[0]) for name, v in sizes.items()}


def check_coordinates(data: ImageData, widths: Sequence[int], seeds: int, **settings: Any) -> None:
    # What the initial head does fades as one over the root of the width; Yang et al. advise to
    # start it at zero.
    settings |= {"head_scale": 0.1}
    maximal = {"parameterization": "mup", "mup_base_width": widths[0]}
    found = slopes(data, widths, seeds, **settings, **maximal)
    assert max(map(abs, found.values())) < 0.25, found
    standard = slopes(data, widths, seeds, **settings)
    if settings["optimizer"] in ("adam", "adamw"):  # hidden layers move ever farther
        assert min(standard[name] for name in ("conv2", "res1a", "res1b", "conv3")) > 0.5, standard
    else:  # the head does, and the first layer moves ever less
        assert standard["head"] > 0.35
        assert standard["conv1"] < -0.35


RATES = {"sgd": 1e-2, "momentum": 1e-2, "adam": 1e-3, "adamw": 1e-3}


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_activations_change_alike_at_all_widths_under_mup_and_not_in_standard(
    rule: str, data: ImageData
) -> None:
    check_coordinates(data, (4, 8, 16), 3, optimizer=rule, learning_rate=RATES[rule])


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("rule", RULES)
def test_activations_change_alike_from_8_to_64_channels_under_mup(
    rule: str, norm: str, data: ImageData
) -> None:
    settings = {"optimizer": rule, "learning_rate": RATES[rule], "norm": norm}
    check_coordinates(data, (8, 16, 32, 64), 4, **settings)
