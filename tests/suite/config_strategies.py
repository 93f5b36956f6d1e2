"""Possible configurations, drawn at random."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from suite.declarations.config import RunConfig, parse

RESNETS = ("resnet9", "r9-avgpool", "resnet56", "resnet110")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "muon_keras", "muon", "lion")
MUP_RULES = ("sgd", "momentum", "adam", "adamw")
# What a setting needs to act, told a second time: the tests hold the declarations to it.
ACTS_ONLY_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "dataset_digest": {"dataset": ("folder",)},
    "width": {"model": RESNETS},
    "norm": {"model": RESNETS},
    "norm_momentum": {"model": RESNETS, "norm": ("batch",)},
    "layer_scaling": {"model": RESNETS},
    "head_scale": {"model": RESNETS},
    "parameterization": {"optimizer": MUP_RULES, "model": RESNETS},
    "mup_base_width": {"optimizer": MUP_RULES, "model": RESNETS, "parameterization": ("mup",)},
    "patch_size": {"model": ("vit",)},
    "embed_dim": {"model": ("vit",)},
    "depth": {"model": ("vit",)},
    "num_heads": {"model": ("vit",)},
    "mlp_ratio": {"model": ("vit",)},
    "global_pool": {"model": ("vit",)},
    "cosine_alpha": {"schedule": ("cosine",)},
    "momentum": {"optimizer": ("momentum",)},
    "momentum_kind": {"optimizer": ("momentum",)},
    "weight_decay": {"optimizer": ("adamw", "muon_keras", "muon", "lion")},
}


def _number(low: float, high: float, **bounds: bool) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, **bounds)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "dataset": st.sampled_from(("digits", "cifar10", "folder")),
    "dataset_digest": st.text("0123456789abcdef", min_size=16, max_size=16) | st.just(""),
    "validation_fraction": _number(0, 1, exclude_min=True, exclude_max=True),
    "train_fraction": _number(0, 1, exclude_min=True),
    "augmentation": st.sampled_from(("none", "flip-crop")),
    "image_side": st.integers(0, 32),
    "model": st.sampled_from((*RESNETS, "vit", "timm/resnet18", "timm/vit_tiny_patch16_224")),
    "width": st.integers(0, 512),
    "norm": st.sampled_from(("batch", "layer")),
    "norm_momentum": _number(0, 1, exclude_max=True) | st.sampled_from((0.0, 0.9, 0.99)),
    "patch_size": st.integers(1, 32),
    "embed_dim": st.integers(1, 64).map(lambda multiple: 8 * multiple),
    "depth": st.integers(1, 24),
    "num_heads": st.sampled_from((1, 2, 4, 8)),
    "mlp_ratio": _number(1, 8),
    "global_pool": st.sampled_from(("token", "avg")),
    "sigma_w": _number(0, 100, exclude_min=True),
    "sigma_b": _number(-0.0, 100),
    "kernel_distribution": st.sampled_from(("normal", "uniform", "truncated_normal", "orthogonal")),
    "layer_scaling": _number(-4, 4),
    "head_scale": _number(0, 100, exclude_min=True),
    "parameterization": st.sampled_from(("standard", "mup")),
    "mup_base_width": st.integers(1, 512),
    "seed": st.integers(0, 2**63 - 1),
    "optimizer": st.sampled_from(OPTIMIZERS),
    "learning_rate": _number(0, 100, exclude_min=True),
    "schedule": st.sampled_from(("cosine", "constant")),
    "cosine_alpha": _number(-0.0, 1),
    "momentum": _number(0, 1, exclude_min=True, exclude_max=True),
    "warmup_epochs": st.integers(0, 5000),
    "momentum_kind": st.sampled_from(("heavy-ball", "nesterov")),
    "kernel_l2": _number(-0.0, 100),
    "weight_decay": _number(-0.0, 100),
    "batch_size": st.integers(1, 4096),
    "epochs": st.integers(1, 5000),
    "early_stopping_patience": st.integers(0, 5000),
    "semantics": st.sampled_from(("keras", "torch")),
    "precision": st.sampled_from(("fp32", "tf32", "bf16", "fp64")),
}


def acting(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings which act beside the others; all fields must be there.

    A warm-up is brought to less than all epochs.
    """
    kept = settings | {"warmup_epochs": settings["warmup_epochs"] % settings["epochs"]}
    for name, needed in ACTS_ONLY_WITH.items():
        if not all(kept.get(other) in values for other, values in needed.items()):
            del kept[name]
    if kept.get("parameterization") == "mup":  # which is refused beside L2
        kept["kernel_l2"] = 0.0
    return kept


def settings(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Settings which make a possible configuration, those without effect left out."""
    return st.fixed_dictionaries(VALUES | fixed).map(acting)


def configs(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[RunConfig]:
    """Possible configurations, with other values for the settings in `fixed`."""
    return settings(**fixed).map(parse)
