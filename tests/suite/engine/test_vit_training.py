"""Whole trainings of vision transformers in a fleet against a loop over timm's modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional
from torch.testing import assert_close
from training_helpers import CPU, small_digits, small_run, train
from vit_reference import WrittenDown, stock_step, timms_name, timms_own, with_numbers

from suite.basics.randomness import batch_order
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.declarations.schedule import learning_rates
from suite.engine.fleet import Fleet
from suite.models.initialization import initial_parameter

STOCK = ("sgd", "momentum", "adam", "adamw")
RULES = (*STOCK, "muon")
SMALL: dict[str, Any] = {"model": "vit", "embed_dim": 8, "patch_size": 4, "num_heads": 2}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return small_digits()


def by_timm(
    config: RunConfig, data: ImageData, trained: Fleet, *, stock: bool
) -> tuple[list[float], torch.nn.Module]:
    """The epochs' training losses without penalty, and the module in the end."""
    module = timms_own(config, data.channels, data.height, data.width, data.num_classes)
    specs = trained.network.parameters
    start = {spec.name: initial_parameter(config, spec, torch.float64) for spec in specs}
    with_numbers(module, trained.network, start)
    torchs, written = stock_step(config, module), WrittenDown(config, module)
    rates = iter(learning_rates(config, len(data.train)))
    losses = []
    for epoch in range(1, config.epochs + 1):
        total = 0.0
        for index in batch_order(config.seed, epoch, len(data.train)).split(config.batch_size):
            scores = module(data.train.images[index].double() / 255)
            loss = functional.cross_entropy(scores, data.train.labels[index])
            module.zero_grad()
            loss.backward()
            total += loss.item() * len(index)
            rate = float(next(rates))
            for group in torchs.param_groups:
                group["lr"] = rate
            if stock:
                torchs.step()
            else:
                written.step(rate)
        losses.append(total / len(data.train))
    return losses, module


@pytest.mark.parametrize(
    ("rule", "semantics", "stock"),
    [
        *((rule, "torch", True) for rule in STOCK),
        ("muon", "torch", False),
        *((rule, "keras", False) for rule in (*RULES, "muon_keras")),
    ],
)
@pytest.mark.parametrize("global_pool", ["token", "avg"])
def test_a_fleet_of_vision_transformers_is_a_loop_over_timms_modules(
    rule: str, semantics: str, stock: bool, global_pool: str, data: ImageData
) -> None:
    fixed = {**SMALL, "global_pool": global_pool, "optimizer": rule, "semantics": semantics}
    decay = {"weight_decay": 0.1} if rule in ("adamw", "muon", "muon_keras") else {}
    l2 = {"kernel_l2": 0.05} if semantics == "torch" and rule != "adamw" else {}
    configs = [
        small_run(epochs=2, learning_rate=0.01, sigma_w=s, seed=3, **fixed, **decay, **l2)
        for s in (0.5, 1.5)
    ]
    fleet = Fleet(configs, data, CPU)
    ended = train(fleet)
    for place, config in enumerate(configs):
        losses, module = by_timm(config, data, fleet, stock=stock)
        ours = [record.train_loss for record in ended[config.fingerprint].history]
        assert_allclose(ours, losses, rtol=0, atol=1e-9)
        final = dict(module.named_parameters())
        for name, value in fleet.layout.unpack(fleet.theta, place).items():
            assert_close(value, final[timms_name(name)].detach(), rtol=0, atol=1e-9)
