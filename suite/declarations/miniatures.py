"""The paper's experiments at reduced scale: on embedded data, in minutes on a laptop.

Scaled down, all together: the images (digits, 8×8), their number (230 of 1,150 for training, so
that every rule fits its labels and what differs is what it learned), the width (8), the epochs
(150) and the batch sizes (half). Scaled up: η0, tenfold, as there are a hundred times fewer steps,
and λ likewise. BatchNorm's running statistics keep 0.9 a step and not Keras's 0.99: with 4 to 29
steps an epoch they would lag behind by many epochs, and validation accuracy would measure that lag.

What they cannot show: augmentation (flips and 4-pixel crops make no sense on 8×8 digits), the
paper's numbers, and anything of a test accuracy below what digits allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.declarations.factorial import Experiment
from suite.declarations.paper_experiments import PAPER_OPTIMIZERS, PAPER_SEEDS, SIGMA_W_COARSE

MINIATURE_RUN: Mapping[str, Any] = {
    "dataset": "digits",
    "train_fraction": 0.2,
    "model": "resnet9",
    "width": 8,
    "norm_momentum": 0.9,
    "epochs": 150,
    "learning_rate": 1e-2,
}
FEWER_SEEDS = PAPER_SEEDS[:5]
SMALL_AND_LARGE_BATCH = (8, 64)


def _miniature(of: str, description: str, **parts: Any) -> Experiment:
    small = Experiment(f"mini-{of}", description, f"{of} in miniature", miniature_of=of, **parts)
    return small.on(MINIATURE_RUN)


MINIATURES = (
    _miniature(
        "main",
        "the phase diagram: optimizer × batch size × σw",
        axes={
            "optimizer": PAPER_OPTIMIZERS,
            "batch_size": (8, 16, 32, 64),
            "sigma_w": SIGMA_W_COARSE,
            "seed": PAPER_SEEDS,
        },
    ),
    _miniature(
        "long",
        "does time alone erase it? ten times the epochs, at two constant rates",
        axes={
            "learning_rate": (1e-3, 1e-2),
            "batch_size": SMALL_AND_LARGE_BATCH,
            "sigma_w": SIGMA_W_COARSE,
            "seed": FEWER_SEEDS,
        },
        fixed={"optimizer": "sgd", "schedule": "constant", "epochs": 1500},
    ),
    _miniature(
        "lr-l2",
        "what makes SGD forget: learning rate × kernel L2",
        axes={
            "learning_rate": (1e-2, 3e-2, 1e-1),
            "kernel_l2": (0.0, 1e-2, 5e-2, 1e-1),
            "batch_size": SMALL_AND_LARGE_BATCH,
            "sigma_w": SIGMA_W_COARSE,
            "seed": FEWER_SEEDS,
        },
        fixed={"optimizer": "sgd"},
    ),
    _miniature(
        "norm-aug",
        "BatchNorm against LayerNorm, without augmentation",
        axes={
            "norm": ("batch", "layer"),
            "optimizer": ("sgd", "adam"),
            "batch_size": SMALL_AND_LARGE_BATCH,
            "sigma_w": SIGMA_W_COARSE,
            "seed": FEWER_SEEDS,
        },
        bundles={
            "norm": {"batch": {"norm": "batch", "norm_momentum": 0.9}, "layer": {"norm": "layer"}}
        },
    ),
    _miniature(
        "best",
        "tuned procedures at the two extreme scales",
        axes={
            "procedure": ("sgd", "adam"),
            "batch_size": SMALL_AND_LARGE_BATCH,
            "sigma_w": (SIGMA_W_COARSE[0], SIGMA_W_COARSE[-1]),
            "seed": PAPER_SEEDS,
        },
        bundles={
            "procedure": {
                "sgd": {
                    "optimizer": "momentum",
                    "learning_rate": 0.1,
                    "momentum": 0.9,
                    "kernel_l2": 5e-3,
                },
                "adam": {"optimizer": "adam", "learning_rate": 1e-2},
            }
        },
    ),
    _miniature(
        "depth",
        "a deeper network, and average pooling as the control",
        axes={
            "architecture": ("resnet56", "r9-avgpool"),
            "optimizer": ("sgd", "adam"),
            "batch_size": SMALL_AND_LARGE_BATCH,
            "sigma_w": SIGMA_W_COARSE,
            "seed": FEWER_SEEDS,
        },
        bundles={
            "architecture": {
                "resnet56": {"model": "resnet56", "width": 4},
                "r9-avgpool": {"model": "r9-avgpool", "width": 8},
            }
        },
    ),
)

# A question that the paper leaves open, and so no miniature of one of its experiments.
ADAM_L2 = Experiment(
    "mini-adam-l2",
    "does coupled L2 make Adam remember? Adam beside AdamW at four strengths of kernel L2",
    "beyond the paper",
    axes={
        "optimizer": ("adam", "adamw"),
        "kernel_l2": (0.0, 1e-3, 1e-2, 1e-1),
        "batch_size": SMALL_AND_LARGE_BATCH,
        "sigma_w": SIGMA_W_COARSE,
        "seed": FEWER_SEEDS,
    },
).on(MINIATURE_RUN)


# Do transformers forget? Patches of 4×4, biases that start at 0, more epochs than mini-main and a
# rate for each rule are what lets them fit their labels from every σw: biases that start with a
# deviation of 0.2 drown the image at small σw, and SGD learns nothing. All of it holds for the
# ResNet beside them, too, from which they differ in their architecture alone.
def _five_rules(name: str, description: str, architecture: Mapping[str, Any]) -> Experiment:
    return Experiment(
        name,
        description,
        "beyond the paper",
        axes={
            "optimizer": ("sgd", "momentum", "adam", "adamw", "muon"),
            "batch_size": (16, 64),
            "sigma_w": SIGMA_W_COARSE,
            "seed": FEWER_SEEDS,
        },
        bundles={
            "optimizer": {
                "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
                "momentum": {"optimizer": "momentum", "learning_rate": 1e-2},
                "adam": {"optimizer": "adam", "learning_rate": 3e-3},
                "adamw": {"optimizer": "adamw", "learning_rate": 3e-3},
                "muon": {"optimizer": "muon", "learning_rate": 1e-2},
            }
        },
        fixed={
            **{"dataset": "digits", "train_fraction": 0.2, "sigma_b": 0.0, "epochs": 400},
            **architecture,
        },
    )


VIT = _five_rules(
    "mini-vit",
    "do transformers forget? five rules on a small vision transformer: half an hour",
    {"model": "vit", "patch_size": 4},
)
VIT_TWIN = _five_rules(
    "mini-vit-twin",
    "its twin, ResNet-9 by the same rules, rates, images and epochs: twenty minutes",
    {"model": "resnet9", "width": 8, "norm_momentum": 0.9},
)

# Real images overnight: not of the group, since it takes hours.
CIFAR_SMALL = Experiment(
    "cifar-small",
    "real images overnight: CIFAR-10 at 16×16, a quarter of it, SGD against Adam",
    "§3.1 in miniature",
    axes={
        "optimizer": ("sgd", "adam"),
        "batch_size": (32, 128),
        "sigma_w": SIGMA_W_COARSE,
        "seed": FEWER_SEEDS,
    },
    fixed={
        "dataset": "cifar10",
        "image_side": 16,
        "train_fraction": 0.25,
        "width": 8,
        "epochs": 200,
        "learning_rate": 1e-2,
    },
    miniature_of="main",
)
