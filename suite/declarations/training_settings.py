"""Settings of a run: how it is trained, and in which arithmetic."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from suite.basics.settings import Setting, Settings
from suite.declarations.update_constants import DECAYING


class TrainingSettings(Settings):
    """How a run moves on from its start."""

    optimizer: Annotated[
        Literal["sgd", "momentum", "adam", "adamw", "muon_keras", "muon", "lion"],
        Setting(
            "muon_keras orthogonalises dense kernels only (the paper's Muon), "
            "muon all hidden matrices, of convolutions too; lion steps by signs alone"
        ),
    ] = "sgd"
    learning_rate: Annotated[
        float,
        Field(gt=0),
        Setting("initial rate η0 of the schedule", unit="per step", short="η={}"),
    ] = 1e-3
    schedule: Annotated[
        Literal["cosine", "constant"],
        Setting("cosine decays per step over all epochs after the warmup"),
    ] = "cosine"
    cosine_alpha: Annotated[
        float,
        Field(ge=0, le=1),
        Setting(
            "final rate of the cosine as a part of η0",
            only_with={"schedule": ("cosine",)},
            short="α={}",
        ),
    ] = 0.01
    warmup_epochs: Annotated[
        int,
        Field(ge=0),
        Setting(
            "epochs, of W steps in all, in which the rate rises, to η0·k/W at step k = 1 … W, "
            "before the schedule begins on the steps left",
            unit="epochs",
            short="warm-up {}",
            implicit=0,
        ),
    ] = 0
    momentum: Annotated[
        float,
        Field(gt=0, lt=1),
        Setting("velocity factor μ", only_with={"optimizer": ("momentum",)}, short="μ={}"),
    ] = 0.9
    momentum_kind: Annotated[
        Literal["heavy-ball", "nesterov"],
        Setting(
            "heavy-ball steps by the velocity; nesterov by the gradient and μ times the velocity",
            only_with={"optimizer": ("momentum",)},
            short={"heavy-ball": "heavy ball", "nesterov": "Nesterov"},
            implicit="heavy-ball",
        ),
    ] = "heavy-ball"
    kernel_l2: Annotated[
        float,
        Field(ge=0),
        Setting(
            "coupled L2 strength λ on kernels: keras adds λΣw² to the loss, torch adds λw to "
            "the gradient",
            short="λ={}",
        ),
    ] = 0.0
    weight_decay: Annotated[
        float,
        Field(ge=0),
        Setting(
            "decoupled decay λ: w loses ηλw a step",
            only_with={"optimizer": DECAYING},
            short="decay {}",
        ),
    ] = 1e-4
    batch_size: Annotated[
        int, Field(ge=1), Setting("images per step", unit="images", short="b{}")
    ] = 64
    epochs: Annotated[
        int, Field(ge=1), Setting("passes over the training images", short="{} epochs")
    ] = 60
    early_stopping_patience: Annotated[
        int,
        Field(ge=0),
        Setting(
            "stop after so many epochs without a lower val_loss; 0 never stops",
            unit="epochs",
            short="patience {}",
        ),
    ] = 0

    # Numerics
    semantics: Annotated[
        Literal["keras", "torch"],
        Setting("whose layers and update rules: keras is the paper's software"),
    ] = "keras"
    precision: Annotated[
        Literal["fp32", "tf32", "bf16", "fp64"],
        Setting("arithmetic; tf32 differs from fp32 on GPUs only, bf16 keeps fp32 master weights"),
    ] = "fp32"

    @model_validator(mode="after")
    def _warm_before_the_end(self) -> Self:
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs: must be less than epochs={self.epochs}, got {self.warmup_epochs}; "
                "warm up for fewer epochs or train for more"
            )
        return self
