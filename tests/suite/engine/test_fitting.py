"""A state is gone on from only if it is all that the run's network and rule have, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from training_helpers import CPU, small_digits, small_run

from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.engine.checkpoint import Group, MisfitError, RefusedError, RunState
from suite.engine.fitting import require_fit
from suite.engine.fleet import Fleet
from suite.models import build
from suite.models.specs import Network

RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum, layer norm": {"optimizer": "momentum", "norm": "layer"},
    "adam, fp32": {"optimizer": "adam", "precision": "fp32"},
    "muon": {"optimizer": "muon"},
    "lion": {"optimizer": "lion"},
    "muon_keras": {"optimizer": "muon_keras"},
    "timm, whose batch norm counts in integers": {"model": "timm/test_resnet"},
}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return small_digits()


def state_after_an_epoch(config: RunConfig, data: ImageData) -> RunState:
    fleet = Fleet([config], data, CPU)
    next(fleet.epochs())
    return fleet.states()[0]


def network_of(config: RunConfig, data: ImageData) -> Network:
    return build(config, data.channels, data.height, data.width, data.num_classes)


def fit(state: RunState, config: RunConfig, data: ImageData) -> None:
    require_fit(state, config, network_of(config, data))


def some_state(data: ImageData) -> RunState:
    return state_after_an_epoch(small_run(optimizer="adam"), data)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_fleet_saves_fits_its_run_and_no_tensor_of_it_is_superfluous(
    recipe: str, data: ImageData
) -> None:
    config = small_run(**RECIPES[recipe])
    state = state_after_an_epoch(config, data)
    network = network_of(config, data)
    require_fit(state, config, network)
    for group, part in state.tensors.items():
        for name in part:
            less = {**state.tensors, group: {n: t for n, t in part.items() if n != name}}
            with pytest.raises(MisfitError, match=f"missing {group}/{name}, unknown none"):
                require_fit(replace(state, tensors=less), config, network)


Damage = Callable[[dict[str, Group]], object]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a bias that would be broadcast": (
        lambda t: t["parameters"].update({"head.bias": torch.zeros(1, dtype=torch.float64)}),
        r"parameters/head.bias: must be float64 of shape \(10,\), got float64 of shape \(1,\)",
    ),
    "a moment that would be broadcast": (
        lambda t: t["moment_second"].update({"head.bias": torch.zeros((), dtype=torch.float64)}),
        r"moment_second/head.bias: must be .*, got float64 of shape \(\)",
    ),
    "a tensor turned round": (
        lambda t: t["best_parameters"].update(
            {"head.kernel": t["best_parameters"]["head.kernel"].T.contiguous()}
        ),
        "best_parameters/head.kernel: must be",
    ),
    "numbers of another precision": (
        lambda t: t["parameters"].update({"head.bias": t["parameters"]["head.bias"].float()}),
        r"must be float64 of shape \(10,\), got float32 of shape \(10,\)",
    ),
    "names of another layout": (
        lambda t: t["parameters"].update({"Conv_0.kernel": t["parameters"].pop("head.kernel")}),
        "missing parameters/head.kernel, unknown parameters/Conv_0.kernel",
    ),
    "a group too many": (
        lambda t: t.update({"moment_third": dict(t["moment_first"])}),
        "missing none, unknown moment_third/.* and .* more",
    ),
    "a group too few": (
        lambda t: t.pop("moment_first"),
        "missing moment_first/.* and .* more, unknown none",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_other_names_shapes_or_dtypes_are_refused_by_name(damage: str, data: ImageData) -> None:
    state = some_state(data)
    change, rule = DAMAGES[damage]
    tensors = {group: dict(part) for group, part in state.tensors.items()}
    change(tensors)
    state = replace(state, tensors=tensors)
    with pytest.raises(MisfitError, match=rule) as error:
        fit(state, state.config, data)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(RefusedError, match=rule):
        Fleet([state.config], data, CPU, states=[state])


def test_another_runs_state_is_refused(data: ImageData) -> None:
    state = some_state(data)
    other = state.config.with_(seed=7)
    with pytest.raises(MisfitError, match=f"config: must be that of .*{other.fingerprint}"):
        fit(state, other, data)


def test_another_spelling_of_the_run_is_the_run(data: ImageData) -> None:
    config = small_run(momentum=0.9)
    state = state_after_an_epoch(config, data)
    fit(state, small_run(), data)


@pytest.mark.parametrize("epochs", [0, 4])
def test_more_epochs_than_the_run_has_and_none_at_all_are_refused(
    epochs: int, data: ImageData
) -> None:
    state = some_state(data)
    history = [replace(state.history[0], epoch=1 + index) for index in range(epochs)]
    with pytest.raises(MisfitError, match=f"must have 1 to 3 epochs, got {epochs}"):
        fit(replace(state, history=history), state.config, data)
