"""Settings of a run: the network that is trained."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from suite.basics.settings import Setting, Settings
from suite.declarations.update_constants import NORM_MOMENTUM

RESNETS = ("resnet9", "r9-avgpool", "resnet56", "resnet110")
VIT = "vit"
TIMM_PREFIX = "timm/"
# Channels of the first stage as in Das et al. 2026, App. A.
OWN_WIDTH = {"resnet9": 64, "r9-avgpool": 64, "resnet56": 16, "resnet110": 16}


class NetworkSettings(Settings):
    """What a run trains."""

    model: Annotated[
        str,
        Setting("resnet9, r9-avgpool, resnet56, resnet110, vit, or timm/NAME (any timm model)"),
    ] = "resnet9"
    width: Annotated[
        int,
        Field(ge=0),
        Setting(
            "channels of the first stage; 0 is the paper's (resnet9 64, resnet56 16)",
            unit="channels",
            only_with={"model": RESNETS},
            short="width {}",
            harmless=(0,),
        ),
    ] = 8
    norm: Annotated[
        Literal["batch", "layer"],
        Setting(
            "normalization after each 3×3 convolution",
            only_with={"model": RESNETS},
            short={"batch": "BN", "layer": "LN"},
        ),
    ] = "batch"
    norm_momentum: Annotated[
        float,
        Field(ge=0, lt=1),
        Setting(
            "part of BatchNorm's running statistics that each step keeps; 0 is that of the "
            f"semantics ({', '.join(f'{name} {kept}' for name, kept in NORM_MOMENTUM.items())})",
            unit="per step",
            only_with={"model": RESNETS, "norm": ("batch",)},
            short="BN momentum {}",
            implicit=0.0,
        ),
    ] = 0.0
    patch_size: Annotated[
        int,
        Field(ge=1),
        Setting(
            "height and width of the patches that become tokens",
            unit="pixels",
            only_with={"model": (VIT,)},
            short="patch {}",
        ),
    ] = 2
    embed_dim: Annotated[
        int,
        Field(ge=1),
        Setting(
            "features of a token, a multiple of num_heads",
            unit="features",
            only_with={"model": (VIT,)},
            short="{} features",
        ),
    ] = 32
    depth: Annotated[
        int,
        Field(ge=1),
        Setting(
            "blocks of attention and MLP",
            unit="blocks",
            only_with={"model": (VIT,)},
            short="depth {}",
        ),
    ] = 2
    num_heads: Annotated[
        int,
        Field(ge=1),
        Setting("heads of each attention", only_with={"model": (VIT,)}, short="{} heads"),
    ] = 4
    mlp_ratio: Annotated[
        float,
        Field(ge=1),
        Setting(
            "hidden features of each MLP, as a multiple of embed_dim",
            only_with={"model": (VIT,)},
            short="MLP ratio {}",
        ),
    ] = 4.0
    global_pool: Annotated[
        Literal["token", "avg"],
        Setting(
            "what the classifier sees: a class token, or the average of all patches",
            only_with={"model": (VIT,)},
            short={"token": "class token", "avg": "average of patches"},
        ),
    ] = "token"

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        own = (*RESNETS, VIT)
        if name in own or re.fullmatch(rf"{TIMM_PREFIX}\S+", name):
            return name
        close = difflib.get_close_matches(name, own, n=1)
        hint = f"did you mean {close[0]}?" if close else "timm models are written timm/NAME"
        raise ValueError(f"must be one of {', '.join(own)} or timm/NAME|{hint}")

    @model_validator(mode="after")
    def _heads_share_the_features(self) -> Self:
        if self.acts("num_heads") and self.embed_dim % self.num_heads:
            below = self.embed_dim - self.embed_dim % self.num_heads
            raise ValueError(
                f"embed_dim: must be a multiple of num_heads, got {self.embed_dim} with "
                f"num_heads={self.num_heads}; give {below + self.num_heads}"
            )
        return self

    @property
    def channels(self) -> int:
        """Channels of the first stage of a ResNet (the paper's where `width` is 0)."""
        return self.width or OWN_WIDTH[self.model]
