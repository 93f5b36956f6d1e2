"""Whole trainings against Keras's `fit` and against a plain PyTorch loop."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close
from training_helpers import CPU, small_digits, small_run, train

from suite.basics.randomness import batch_order
from suite.data import augmentation
from suite.data.splits import ImageData, Split
from suite.declarations.config import RunConfig
from suite.engine import fleet
from suite.engine.fleet import Fleet
from suite.models.initialization import initial_parameter

Arrays = Mapping[str, NDArray[np.float64]]

KERAS_CASES: dict[str, dict[str, Any]] = {
    "resnet9/sgd": {"optimizer": "sgd"},
    "resnet9/momentum": {"optimizer": "momentum"},
    "resnet9/nesterov": {"optimizer": "momentum", "momentum_kind": "nesterov"},
    "resnet9/adam": {"optimizer": "adam"},
    "resnet9/adamw": {"optimizer": "adamw"},
    "resnet9/muon_equal_decay": {"optimizer": "muon_keras"},
    "resnet9/sgd_l2": {"optimizer": "sgd", "kernel_l2": 1e-2},
    "resnet9_layernorm/sgd": {"optimizer": "sgd", "norm": "layer"},
    "resnet9_layernorm/lion": {"optimizer": "lion", "norm": "layer"},
}


def keras_run(case: str) -> RunConfig:
    return small_run(width=4, batch_size=16, learning_rate=1e-2, **KERAS_CASES[case])


@pytest.fixture
def keras_data(keras_values: Arrays, monkeypatch: pytest.MonkeyPatch) -> ImageData:
    """The reference's images, in its order and from its initial weights."""

    def given_weight(config: RunConfig, spec: Any, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(keras_values[f"resnet9/init/{spec.name}"]).to(dtype)

    monkeypatch.setattr(fleet, "batch_order", lambda *key: torch.arange(key[-1]))
    monkeypatch.setattr(fleet, "initial_parameter", given_weight)
    train_part, val_part = (
        Split(
            torch.from_numpy(keras_values[f"resnet9/data/{part}_images"]),
            torch.from_numpy(keras_values[f"resnet9/data/{part}_labels"]),
        )
        for part in ("train", "val")
    )
    classes = tuple("0123456789")
    return ImageData("digits", classes, train_part, val_part, val_part, digest="0" * 16)


def assert_is_kerass(case: str, trained: Fleet, place: int, history: Any, values: Arrays) -> None:
    names = {"loss": "train_loss", "accuracy": "train_accuracy"}
    for keras_name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        ours = [getattr(record, names.get(keras_name, keras_name)) for record in history]
        expected = values[f"{case}/history/{keras_name}"]
        assert_allclose(ours, expected, rtol=0, atol=1e-9, err_msg=keras_name)
    numbers = trained.layout.unpack(trained.theta.detach(), place)
    numbers |= {
        name.replace(".norm.", ".norm.running_"): value[place]
        for name, value in trained.buffers.items()
    }
    finals = [key for key in values if key.startswith(f"{case}/final/")]
    assert len(finals) == (4 if "layernorm" in case else 8)
    for key in finals:
        name = key.removeprefix(f"{case}/final/")
        if name != "val_logits":
            assert_allclose(numbers[name], values[key], rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("case", KERAS_CASES)
def test_training_is_what_keras_fit_does(
    case: str, keras_values: Arrays, keras_data: ImageData
) -> None:
    config = keras_run(case)
    trained = Fleet([config], keras_data, CPU)
    run = train(trained)[config.fingerprint]
    assert_is_kerass(case, trained, 0, run.history, keras_values)


def test_a_fleet_with_and_without_l2_is_two_trainings_of_keras(
    keras_values: Arrays, keras_data: ImageData
) -> None:
    cases = ["resnet9/sgd", "resnet9/sgd_l2"]
    configs = [keras_run(case) for case in cases]
    trained = Fleet(configs, keras_data, CPU)
    ended = train(trained)
    for place, (case, config) in enumerate(zip(cases, configs, strict=True)):
        history = ended[config.fingerprint].history
        assert_is_kerass(case, trained, place, history, keras_values)


class ChannelNorm(nn.LayerNorm):
    """nn.LayerNorm over the channels of (batch, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNormRelu(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: str, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.norm = nn.BatchNorm2d(outputs) if norm == "batch" else ChannelNorm(outputs)

    def forward(self, x: Tensor, *, rectify: bool = True) -> Tensor:
        x = self.norm(self.conv(x))
        return functional.relu(x) if rectify else x


class PlainResNet9(nn.Module):
    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        w, norm = config.width, config.norm
        self.conv1 = ConvNormRelu(1, w, norm)
        self.conv2 = nn.Sequential(ConvNormRelu(w, 2 * w, norm), nn.MaxPool2d(2))
        self.res1 = nn.Sequential(*(ConvNormRelu(2 * w, 2 * w, norm) for _ in range(2)))
        self.conv3 = nn.Sequential(ConvNormRelu(2 * w, 4 * w, norm), nn.MaxPool2d(2))
        self.conv4 = nn.Sequential(ConvNormRelu(4 * w, 8 * w, norm), nn.MaxPool2d(2))
        self.res2 = nn.Sequential(*(ConvNormRelu(8 * w, 8 * w, norm) for _ in range(2)))
        pool = nn.AdaptiveMaxPool2d if config.model == "resnet9" else nn.AdaptiveAvgPool2d
        self.head = nn.Sequential(pool(1), nn.Flatten(), nn.Linear(8 * w, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(x))
        x = x + self.res1(x)
        x = self.conv4(self.conv3(x))
        return self.head(x + self.res2(x))


class PlainBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: str, *, changes: bool) -> None:
        super().__init__()
        self.a = ConvNormRelu(inputs, outputs, norm, stride=2 if changes else 1)
        self.b = ConvNormRelu(outputs, outputs, norm)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.b(self.a(x), rectify=False) + self.shortcut(x))


class PlainResNet56(nn.Module):
    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        w, norm = config.width, config.norm
        self.stem = ConvNormRelu(1, w, norm)
        blocks = [PlainBlock(w, w, norm, changes=False) for _ in range(9)]
        for inputs in (w, 2 * w):
            blocks.append(PlainBlock(inputs, 2 * inputs, norm, changes=True))
            blocks += [PlainBlock(2 * inputs, 2 * inputs, norm, changes=False) for _ in range(8)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(4 * w, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def plain_model(config: RunConfig, starting: Fleet) -> nn.Module:
    """The stock module from the same initial weights; both list layers in forward order."""
    model = PlainResNet56(config) if config.model == "resnet56" else PlainResNet9(config)
    specs = starting.network.parameters
    assert len(specs) == len(list(model.parameters()))
    with torch.no_grad():
        for spec, parameter in zip(specs, model.double().parameters(), strict=True):
            parameter.copy_(initial_parameter(config, spec, torch.float64))
    return model


def stock_optimizer(config: RunConfig, model: nn.Module) -> torch.optim.Optimizer:
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    coupled = [
        {"params": kernels, "weight_decay": config.kernel_l2},
        {"params": others, "weight_decay": 0.0},
    ]
    eta = config.learning_rate
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=eta, weight_decay=config.weight_decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(coupled, lr=eta)
    return torch.optim.SGD(coupled, lr=eta, momentum=0.9 if config.optimizer == "momentum" else 0)


def plain_batch(config: RunConfig, data: ImageData, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    order = batch_order(config.seed, epoch, len(data.train))
    draws = augmentation.draw([config.seed], epoch, len(order), CPU)
    for start in range(0, len(order), config.batch_size):
        places = range(start, min(start + config.batch_size, len(order)))
        images = data.train.images[order[start : places.stop]].double() / 255
        if config.augmentation == "flip-crop":
            images = torch.stack(
                [shifted(image, draws, place) for image, place in zip(images, places, strict=True)]
            )
        yield images, data.train.labels[order[start : places.stop]]


def shifted(image: Tensor, draws: augmentation.Draws, place: int) -> Tensor:
    height, width = image.shape[1:]
    image = image.flip(2) if draws.flip[place, 0] else image
    padded = functional.pad(image[None], (4, 4, 4, 4), mode="reflect")[0]
    top, left = int(draws.down[place, 0]), int(draws.right[place, 0])
    return padded[:, top : top + height, left : left + width]


def loss_and_accuracy(model: nn.Module, split: Split) -> tuple[float, float]:
    with torch.no_grad():
        logits = model.eval()(split.images.double() / 255)
    accuracy = (logits.argmax(1) == split.labels).double().mean()
    return float(functional.cross_entropy(logits, split.labels)), float(accuracy)


def plain_training(
    config: RunConfig, data: ImageData, model: nn.Module
) -> tuple[list[list[float]], nn.Module]:
    """The epochs' metrics, and the model at the lowest validation loss."""
    optimizer = stock_optimizer(config, model)
    steps = config.epochs * -(-len(data.train) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, steps, eta_min=0.01 * config.learning_rate
    )
    rows: list[list[float]] = []
    best: tuple[float, nn.Module] = (np.inf, model)
    for epoch in range(1, config.epochs + 1):
        model.train()
        loss_sum = correct = 0.0
        for images, labels in plain_batch(config, data, epoch):
            logits = model(images)
            loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        images_seen = len(data.train)
        val_loss, val_accuracy = loss_and_accuracy(model, data.validation)
        norm = sum(float((p.detach() ** 2).sum()) for p in model.parameters() if p.ndim > 1) ** 0.5
        rows.append(
            [loss_sum / images_seen, correct / images_seen, val_loss, val_accuracy, norm, rate]
        )
        if val_loss < best[0]:
            best = (val_loss, copy.deepcopy(model))
    return rows, best[1]


PLAIN_RUNS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "kernel_l2": 0.05, "norm": "layer", "width": 4},
    {"optimizer": "momentum", "kernel_l2": 0.05, "augmentation": "flip-crop"},
    {"optimizer": "adam", "kernel_l2": 0.05},
    {"optimizer": "adamw", "model": "r9-avgpool", "weight_decay": 0.1},
    {"optimizer": "adamw", "model": "r9-avgpool", "norm": "layer", "width": 4},
    {"optimizer": "momentum", "model": "resnet56", "epochs": 2},
]


@pytest.mark.parametrize("settings", PLAIN_RUNS, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_training_in_torch_semantics_is_a_plain_torch_loop(settings: dict[str, Any]) -> None:
    data = small_digits()
    config = small_run(semantics="torch", learning_rate=0.02, sigma_w=1.5, seed=3, **settings)
    # A bias before BatchNorm has no gradient but rounding, which Adam holds against its ε of 1e-8.
    amplified = config.optimizer.startswith("adam") and config.norm == "batch"
    tolerance = 1e-6 if amplified else 1e-9
    ours = Fleet([config], data, CPU)
    model = plain_model(config, ours)
    run = train(ours)[config.fingerprint]
    rows, best = plain_training(config, data, model)
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "kernel_norm"]
    names.append("learning_rate")
    for record, row in zip(run.history, rows, strict=True):
        for name, expected in zip(names, row, strict=True):
            assert_allclose(getattr(record, name), expected, rtol=0, atol=tolerance, err_msg=name)
    final = ours.layout.unpack(ours.theta.detach(), 0)
    for spec, parameter in zip(ours.network.parameters, model.parameters(), strict=True):
        assert_close(final[spec.name], parameter.detach(), rtol=0, atol=tolerance)
    test_loss, test_accuracy = loss_and_accuracy(best, data.test)
    assert_allclose(run.summary["test_loss"], test_loss, rtol=0, atol=tolerance)
    assert_allclose(run.summary["test_accuracy"], test_accuracy, rtol=0, atol=1e-12)
    assert run.parameters is not None
    for spec, parameter in zip(ours.network.parameters, best.parameters(), strict=True):
        assert_close(run.parameters[spec.name], parameter.detach(), rtol=0, atol=tolerance)
