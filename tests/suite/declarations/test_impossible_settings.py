"""Which configurations cannot be, and the one line that says so."""

from __future__ import annotations

from typing import Any

import pytest

from suite.basics.settings import ConfigError
from suite.declarations.config import parse

POSSIBLE_NAMES = (
    "one of resnet9, r9-avgpool, resnet56, resnet110, vit or timm/NAME",
    "one of sgd, momentum, adam, adamw, muon_keras, muon, lion",
)
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    (
        {"learning_rate": "-0.1"},
        "learning_rate: must be greater than 0, got '-0.1'; give a value > 0, such as 0.001",
    ),
    (
        {"learning_rate": 0},
        "learning_rate: must be greater than 0, got 0; give a value > 0, such as 0.001",
    ),
    ({"sigma_w": 0}, "sigma_w: must be greater than 0, got 0; give a value > 0, such as 1.0"),
    ({"sigma_w": -1.5}, "sigma_w: must be greater than 0, got -1.5; give a value > 0, such as 1.0"),
    (
        {"sigma_w": "large"},
        "sigma_w: must be a valid number, unable to parse string as a number, got 'large'; "
        "give a value > 0, such as 1.0",
    ),
    (
        {"sigma_w": "1\n2"},
        "sigma_w: must be a valid number, unable to parse string as a number, got '1\\n2'; "
        "give a value > 0, such as 1.0",
    ),
    (
        {"sigma_w": float("nan")},
        "sigma_w: must be a finite number, got nan; give a value > 0, such as 1.0",
    ),
    (
        {"learning_rate": "inf"},
        "learning_rate: must be a finite number, got 'inf'; give a value > 0, such as 0.001",
    ),
    (
        {"kernel_l2": "-inf"},
        "kernel_l2: must be a finite number, got '-inf'; give a value ≥ 0, such as 0.0",
    ),
    (
        {"momentum": 1, "optimizer": "momentum"},
        "momentum: must be less than 1, got 1; give a value > 0, < 1, such as 0.9",
    ),
    (
        {"batch_size": "64.5"},
        "batch_size: must be a valid integer, unable to parse string as an integer, got '64.5'; "
        "give a value ≥ 1, such as 64",
    ),
    ({"seed": -1}, "seed: must be greater than or equal to 0, got -1; give a value ≥ 0, such as 0"),
    ({"seed": 1e19}, "seed: must be a smaller number, got 1e+19; give a value ≥ 0, such as 0"),
    (
        {"optimizer": "adaam"},
        f"optimizer: must be {POSSIBLE_NAMES[1]}, got 'adaam'; did you mean adam?",
    ),
    (
        {"optimizer": "shampoo"},
        f"optimizer: must be {POSSIBLE_NAMES[1]}, got 'shampoo'; give a value "
        "sgd | momentum | adam | adamw | muon_keras | muon | lion, such as sgd",
    ),
    (
        {"model": "resnet50"},
        f"model: must be {POSSIBLE_NAMES[0]}, got 'resnet50'; did you mean resnet56?",
    ),
    (
        {"model": "vits"},
        f"model: must be {POSSIBLE_NAMES[0]}, got 'vits'; did you mean vit?",
    ),
    (
        {"model": "swin"},
        f"model: must be {POSSIBLE_NAMES[0]}, got 'swin'; timm models are written timm/NAME",
    ),
    (
        {"model": "vit", "embed_dim": 30},
        "embed_dim: must be a multiple of num_heads, got 30 with num_heads=4; give 32",
    ),
    (
        {"patch_size": 4},
        "patch_size: acts only with model=vit, got 4 with model=resnet9; leave it at 2",
    ),
    (
        {"model": "vit", "width": 16},
        "width: acts only with model=resnet9 or r9-avgpool or resnet56 or resnet110, got 16 with "
        "model=vit; leave it at 8",
    ),
    (
        {"model": "timm/a\nb"},
        f"model: must be {POSSIBLE_NAMES[0]}, got 'timm/a\\nb'; timm models are written timm/NAME",
    ),
    ({"lerning_rate": 1}, "lerning_rate: is no setting, got 1; did you mean learning_rate?"),
    ({"colour": "red"}, "colour: is no setting, got 'red'; --help lists all settings"),
    (
        {"optimizer": "adam", "momentum": 0.8},
        "momentum: acts only with optimizer=momentum, got 0.8 with optimizer=adam; leave it at 0.9",
    ),
    (
        {"weight_decay": 0.1},
        "weight_decay: acts only with optimizer=adamw or muon_keras or muon or lion, got 0.1 "
        "with optimizer=sgd; leave it at 0.0001",
    ),
    (
        {"schedule": "constant", "cosine_alpha": 0.1},
        "cosine_alpha: acts only with schedule=cosine, got 0.1 with schedule=constant; "
        "leave it at 0.01",
    ),
    (
        {"optimizer": "adam", "momentum_kind": "nesterov"},
        "momentum_kind: acts only with optimizer=momentum, got nesterov with optimizer=adam; "
        "leave it at heavy-ball",
    ),
    (
        {"warmup_epochs": 10, "epochs": 10},
        "warmup_epochs: must be less than epochs=10, got 10; warm up for fewer epochs or train for "
        "more",
    ),
    (
        {"norm": "layer", "norm_momentum": 0.5},
        "norm_momentum: acts only with norm=batch, got 0.5 with norm=layer; leave it out",
    ),
    (
        {"layer_scaling": 1, "model": "timm/resnet18"},
        "layer_scaling: acts only with model=resnet9 or r9-avgpool or resnet56 or resnet110, got "
        "1.0 with model=timm/resnet18; leave it out",
    ),
    (
        {"parameterization": "mup", "optimizer": "muon"},
        "parameterization: acts only with optimizer=sgd or momentum or adam or adamw, got mup with "
        "optimizer=muon; leave it at standard",
    ),
    (
        {"mup_base_width": 16},
        "mup_base_width: acts only with parameterization=mup, got 16 with "
        "parameterization=standard; leave it at 8",
    ),
    (
        {"parameterization": "mup", "kernel_l2": 0.1},
        "kernel_l2: must be 0 with parameterization=mup, which has no one strength for all layers, "
        "got 0.1; leave it at 0 or take adamw and weight_decay",
    ),
    (
        {"dataset_digest": "0" * 16},
        "dataset_digest: acts only with dataset=folder, got 0000000000000000 with "
        "dataset=digits; leave it out",
    ),
    (
        {"dataset": "folder", "dataset_digest": "new"},
        "dataset_digest: must be content digest of a folder data set, filled in by itself, "
        "got 'new'; leave it out",
    ),
]


@pytest.mark.parametrize(("impossible", "line"), IMPOSSIBLE, ids=lambda value: str(value)[:40])
def test_an_impossible_value_is_answered_in_one_line(impossible: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(impossible)
    assert len(caught.value.lines) == len(str(caught.value).splitlines()) == 1
    assert str(caught.value) == line


def test_a_setting_without_effect_may_be_given_at_its_default() -> None:
    assert parse({"optimizer": "adam", "momentum": "0.9"}) == parse({"optimizer": "adam"})


def test_every_impossible_value_gets_a_line_of_its_own() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"sigma_w": 0, "epochs": 0, "optimizer": "x", "nonsense": 1})
    fields = [line.split(":")[0] for line in caught.value.lines]
    assert fields == ["sigma_w", "optimizer", "epochs", "nonsense"]


def test_a_very_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"sigma_w": "x" * 10_000})
    assert len(str(caught.value)) < 250
