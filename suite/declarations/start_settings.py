"""Settings of a run: where training starts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from suite.basics.settings import SEED_LIMIT, Setting, Settings
from suite.declarations.network_settings import RESNETS

# Update rules for which μP's rates are published (Yang et al. 2022, Table 3): momentum has those of
# SGD, AdamW those of Adam.
MUP_RULES = ("sgd", "momentum", "adam", "adamw")


class StartSettings(Settings):
    """What a run begins with; those marked `initial` act before the first step only."""

    sigma_w: Annotated[
        float,
        Field(gt=0),
        Setting("initialization scale σw: kernels ~ N(0, σw²/fan_in)", short="σw={}", initial=True),
    ] = 1.0
    sigma_b: Annotated[
        float,
        Field(ge=0),
        Setting(
            "standard deviation of the initial biases; σw leaves it alone",
            short="σb={}",
            initial=True,
        ),
    ] = 0.2
    kernel_distribution: Annotated[
        Literal["normal", "uniform", "truncated_normal", "orthogonal"],
        Setting(
            "what kernels are drawn from, with variance σw²/fan_in each: truncated_normal ends at "
            "2 standard deviations, orthogonal has orthonormal rows or columns, times a number",
            short={
                "normal": "normal kernels",
                "uniform": "uniform kernels",
                "truncated_normal": "truncated kernels",
                "orthogonal": "orthogonal kernels",
            },
            implicit="normal",
            initial=True,
        ),
    ] = "normal"
    layer_scaling: Annotated[
        float,
        Field(ge=-4, le=4),
        Setting(
            "exponent a of depth: kernel l of L starts with σw·(l/m)ᵃ, m the geometric mean of "
            "1, …, L, so that the scales' product stays",
            only_with={"model": RESNETS},
            short="depth^{}",
            implicit=0.0,
            initial=True,
        ),
    ] = 0.0
    head_scale: Annotated[
        float,
        Field(gt=0),
        Setting(
            "the classifier's kernel starts so many times as large",
            only_with={"model": RESNETS},
            short="head×{}",
            implicit=1.0,
            initial=True,
        ),
    ] = 1.0
    parameterization: Annotated[
        Literal["standard", "mup"],
        Setting(
            "mup: the head's initial scale, and each parameter's rate, follow its layer's width "
            "(maximal update)",
            only_with={"model": RESNETS, "optimizer": MUP_RULES},
            short={"standard": "standard", "mup": "μP"},
            implicit="standard",
        ),
    ] = "standard"
    mup_base_width: Annotated[
        int,
        Field(ge=1),
        Setting(
            "width at which mup is standard, and to which learning_rate belongs",
            unit="channels",
            only_with={"parameterization": ("mup",), "model": RESNETS, "optimizer": MUP_RULES},
            short="base width {}",
        ),
    ] = 8
    seed: Annotated[
        int,
        Field(ge=0, lt=SEED_LIMIT),
        Setting("decides initial weights, batch order and augmentation", short="seed {}"),
    ] = 0
