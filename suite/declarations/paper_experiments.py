"""The experiments of Das et al. 2026 at full size (§2, App. A), with the paper's own counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.declarations.factorial import Experiment

PAPER_SEEDS = (0, 1, 42, 123, 456, 789, 999, 2024, 2025, 2026)
SIGMA_W_FINE = tuple(round(0.1 * i, 1) for i in range(1, 26))
SIGMA_W_COARSE = (0.1, 0.5, 1.0, 1.8, 2.5)
PAPER_OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "muon_keras")

# The main grid's run (App. A); what an experiment of the paper does not change, it takes from here.
PAPER_RUN: Mapping[str, Any] = {
    "dataset": "cifar10",
    "model": "resnet9",
    "width": 64,
    "epochs": 300,
    "batch_size": 128,
    "learning_rate": 1e-3,
}
RESNET_56_110: Mapping[str, Any] = {"width": 16, "early_stopping_patience": 30}


def _paper(name: str, description: str, source: str, **parts: Any) -> Experiment:
    return Experiment(name, description, source, **parts).on(PAPER_RUN)


PAPER_EXPERIMENTS = (
    _paper(
        "main",
        "the phase diagram: optimizer × batch size × σw",
        "Fig 1-3, 6; Tab 2-3",
        axes={
            "optimizer": PAPER_OPTIMIZERS,
            "batch_size": (16, 32, 64, 128, 256),
            "sigma_w": SIGMA_W_FINE,
            "seed": PAPER_SEEDS,
        },
    ),
    _paper(
        "long",
        "does training for 5,000 epochs erase it?",
        "Fig 4; App. A",
        axes={"batch_size": (16, 128), "sigma_w": SIGMA_W_COARSE, "seed": (42,)},
        fixed={"optimizer": "sgd", "schedule": "constant", "epochs": 5000},
    ),
    _paper(
        "lr-l2",
        "what makes SGD forget: learning rate × kernel L2",
        "Fig 4; Tab 4",
        axes={
            "learning_rate": (1e-3, 1e-2, 1e-1),
            "kernel_l2": (0.0, 1e-3, 5e-3, 1e-2),
            "batch_size": (16, 128),
            "sigma_w": SIGMA_W_COARSE,
            "seed": PAPER_SEEDS,
        },
        fixed={"optimizer": "sgd"},
    ),
    _paper(
        "norm-aug",
        "BatchNorm against LayerNorm, both with augmentation",
        "Fig 8; Tab 6",
        axes={
            "norm": ("batch", "layer"),
            "optimizer": ("sgd", "adam"),
            "batch_size": (16, 128),
            "sigma_w": SIGMA_W_COARSE,
            "seed": PAPER_SEEDS[:5],
        },
        fixed={"augmentation": "flip-crop"},
    ),
    _paper(
        "best",
        "tuned procedures at the two extreme scales",
        "Tab 7; App. F",
        axes={
            "procedure": ("sgd", "adam"),
            "batch_size": (16, 128, 256),
            "sigma_w": (0.1, 2.5),
            "seed": PAPER_SEEDS,
        },
        bundles={
            "procedure": {
                "sgd": {
                    "optimizer": "momentum",
                    "learning_rate": 0.1,
                    "momentum": 0.9,
                    "kernel_l2": 5e-4,
                },
                "adam": {"optimizer": "adam", "learning_rate": 1e-3},
            }
        },
        fixed={"augmentation": "flip-crop", "epochs": 200},
    ),
    _paper(
        "depth",
        "deeper networks, and average pooling as the control",
        "Fig 5, 7; Tab 5",
        axes={
            "architecture": ("resnet56", "resnet110", "r9-avgpool"),
            "optimizer": PAPER_OPTIMIZERS,
            "batch_size": (16, 128),
            "sigma_w": SIGMA_W_COARSE,
            "seed": PAPER_SEEDS,
        },
        bundles={
            "architecture": {
                "resnet56": {"model": "resnet56", **RESNET_56_110},
                "resnet110": {"model": "resnet110", **RESNET_56_110},
                "r9-avgpool": {"model": "r9-avgpool", "width": 64},
            }
        },
    ),
)
