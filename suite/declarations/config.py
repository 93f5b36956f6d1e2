"""One run's settings, declared once: type, default, range, unit and meaning of each.

Command-line flags, the MLproject parameter block, MLflow parameters, grid axes and the settings
table of the documentation are derived from the fields of :class:`RunConfig`. What changes a run by
rounding at most (device, threads, paths, worker counts) is not here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from suite.basics.settings import SEED_LIMIT, ConfigError, Setting, Settings
from suite.declarations.datasets import KNOWN
from suite.declarations.update_constants import DECAYING, NORM_MOMENTUM

__all__ = ["ConfigError", "RunConfig", "parse"]

RESNETS = ("resnet9", "r9-avgpool", "resnet56", "resnet110")
VIT = "vit"
TIMM_PREFIX = "timm/"
# Update rules for which μP's rates are published (Yang et al. 2022, Table 3): momentum has those of
# SGD, AdamW those of Adam.
MUP_RULES = ("sgd", "momentum", "adam", "adamw")
# Channels of the first stage as in Das et al. 2026, App. A.
OWN_WIDTH = {"resnet9": 64, "r9-avgpool": 64, "resnet56": 16, "resnet110": 16}

FINGERPRINT_LENGTH = 16
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

# What is varied to see what training remembers, and what repeats it: all settings but these make a
# recipe, as runs are named and listed. The analysis can ask the same of another initial setting
# (`suite.declarations.perturbation`); σw then is one of a recipe's settings.
PERTURBED = ("sigma_w", "seed")
# What is trained, and on which images: only of one network are memories comparable.
NETWORK = (
    *("dataset", "dataset_digest", "validation_fraction", "train_fraction", "image_side"),
    *("model", "width", "norm"),
    *("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "global_pool"),
)
# What a recipe's name says first, and what it says even where it is at its default.
NAMED_FIRST = (
    *("dataset", "model", "norm", "augmentation"),
    *("optimizer", "batch_size", "learning_rate", "kernel_l2"),
)
ALWAYS_NAMED = ("optimizer", "batch_size")


class RunConfig(Settings):
    """One configuration: everything that decides a run's numbers, and nothing else."""

    # Data
    dataset: Annotated[
        Literal["digits", "cifar10", "folder"],
        Setting("digits is embedded; cifar10 is downloaded once; folder reads --data-dir"),
    ] = "digits"
    dataset_digest: Annotated[
        str,
        Field(pattern=r"^([0-9a-f]{16})?$"),
        Setting(
            "content digest of a folder data set, filled in by itself",
            only_with={"dataset": ("folder",)},
            short="{:.8}",
        ),
    ] = ""
    validation_fraction: Annotated[
        float,
        Field(gt=0, lt=1),
        Setting(
            "part of the training images held out for validation, the same for all seeds",
            short="validation {}",
        ),
    ] = 0.2
    train_fraction: Annotated[
        float,
        Field(gt=0, le=1),
        Setting("part of the remaining training images that is used", short="train {}"),
    ] = 1.0
    augmentation: Annotated[
        Literal["none", "flip-crop"],
        Setting(
            "flip-crop: horizontal flip, 4-pixel reflect pad, random crop, drawn per image",
            short={"none": "no aug", "flip-crop": "aug"},
        ),
    ] = "none"
    image_side: Annotated[
        int,
        Field(ge=0),
        Setting(
            "images are averaged over areas down to so many pixels a side; 0 leaves them",
            unit="pixels",
            short="{0}×{0}",
            implicit=0,
        ),
    ] = 0

    # Architecture
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

    # Initialization
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

    # Optimization
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

    @field_validator("*")
    @classmethod
    def _unsigned_zero(cls, value: Any) -> Any:
        return value + 0.0 if isinstance(value, float) else value  # -0.0 and 0.0 are one run

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

    @model_validator(mode="after")
    def _no_l2_under_mup(self) -> Self:
        if self.parameterization == "mup" and self.kernel_l2:
            raise ValueError(
                "kernel_l2: must be 0 with parameterization=mup, which has no one strength for all "
                f"layers, got {self.kernel_l2}; leave it at 0 or take adamw and weight_decay"
            )
        return self

    @model_validator(mode="after")
    def _warm_before_the_end(self) -> Self:
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs: must be less than epochs={self.epochs}, got {self.warmup_epochs}; "
                "warm up for fewer epochs or train for more"
            )
        return self

    @property
    def channels(self) -> int:
        """Channels of the first stage of a ResNet (the paper's where `width` is 0)."""
        return self.width or OWN_WIDTH[self.model]

    @property
    def momentum_of_norm(self) -> float:
        """What a step keeps of BatchNorm's running statistics (the semantics' where it is 0)."""
        return self.norm_momentum or NORM_MOMENTUM[self.semantics]

    def identity(self) -> dict[str, Any]:
        """The settings that make this run what it is, in their canonical values."""
        identity = {name: getattr(self, name) for name in self.names()}
        for name in self.conditions():
            if not self.acts(name):
                del identity[name]
        if "norm_momentum" in identity and self.momentum_of_norm == NORM_MOMENTUM[self.semantics]:
            identity["norm_momentum"] = 0.0
        for name, implicit in self.implicits().items():
            if name in identity and identity[name] == implicit:
                del identity[name]
        if "width" in identity:
            identity["width"] = self.channels
        return identity

    @cached_property
    def fingerprint(self) -> str:
        """The run's identity: first 16 hexadecimal digits of SHA-256 over its canonical JSON."""
        return _fingerprint(self.identity())

    @property
    def recipe(self) -> dict[str, Any]:
        """The identity without what is perturbed: what runs of other scales and seeds share."""
        return self.recipe_of(PERTURBED[0])

    def recipe_of(self, perturbed: str) -> dict[str, Any]:
        """The recipe where setting `perturbed` is varied in place of σw: identity without it."""
        apart = (perturbed, PERTURBED[1])
        return {name: v for name, v in self.identity().items() if name not in apart}

    @cached_property
    def recipe_fingerprint(self) -> str:
        """The recipe's identity, as :attr:`fingerprint` is the run's."""
        return _fingerprint(self.recipe)

    @property
    def recipe_name(self) -> str:
        """What a person calls the recipe: its optimizer, its batch size and whatever it has that
        is not at its default. Recipes of one name are one recipe.
        """
        recipe = self.recipe
        order = dict.fromkeys((*NAMED_FIRST, *recipe))
        words = [
            self.word(name, recipe[name])
            for name in order
            if name in recipe and (name in ALWAYS_NAMED or recipe[name] != self.default(name))
        ]
        return " ".join(words)

    @property
    def run_name(self) -> str:
        """What a person reads in a list of runs."""
        return " ".join(
            [self.recipe_name, *(self.word(name, getattr(self, name)) for name in PERTURBED)]
        )

    def parameters(self) -> dict[str, str]:
        """The settings as MLflow parameters."""
        return {name: str(getattr(self, name)) for name in self.names()}

    def with_(self, **changes: Any) -> RunConfig:
        """A configuration with some settings replaced, validated anew.

        Raises
        ------
        ConfigError
            If the result is not a possible configuration.
        """
        return parse(self.model_dump() | changes)

    @property
    def training_part(self) -> int | None:
        """Images that training and validation share; None for a folder not yet read."""
        facts = KNOWN.get(self.dataset)
        return facts.training_part if facts else None


def _fingerprint(identity: Mapping[str, Any]) -> str:
    text = CANONICAL.encode(identity)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def parse(settings: Mapping[str, Any]) -> RunConfig:
    """A run's configuration; see :meth:`suite.basics.settings.Settings.parse`."""
    return RunConfig.parse(settings)
