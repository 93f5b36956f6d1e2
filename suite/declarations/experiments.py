"""The experiments by name: each declared once as axes × fixed settings × seeds.

The counts are those of Das et al. 2026 (§2, App. A). An axis is a setting with its values, or a
*bundle* of settings that change together, under a name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.declarations.config import RunConfig, parse

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
# What a single run starts from: the settings' own defaults, or the paper's.
PRESETS: Mapping[str, Mapping[str, Any]] = {"demo": {}, "paper": PAPER_RUN}
RESNET_56_110: Mapping[str, Any] = {"width": 16, "early_stopping_patience": 30}


@dataclass(frozen=True)
class Experiment:
    """A full factorial of configurations.

    Attributes
    ----------
    axes
        Setting or bundle name to its values. A value of a bundle is a key of `bundles[name]`.
    bundles
        Bundle name to {value: settings which that value stands for}.
    fixed
        Settings that all runs share.
    """

    name: str
    description: str
    source: str
    axes: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    bundles: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of runs."""
        size = 1
        for values in self.axes.values():
            size *= len(values)
        return size

    def points(self) -> Iterator[dict[str, Any]]:
        """Every combination of axis values, axis name to value."""
        names = list(self.axes)
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(names, values, strict=True))

    def settings(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The settings which one combination of axis values stands for."""
        settings = dict(self.fixed)
        for name, value in point.items():
            settings |= self.bundles[name][value] if name in self.bundles else {name: value}
        return settings

    def config(self, point: Mapping[str, Any]) -> RunConfig:
        """The configuration of one combination of axis values.

        Raises
        ------
        ConfigError
            If it is not a possible one.
        """
        return parse(self.settings(point))

    def configs(self) -> Iterator[RunConfig]:
        """Every configuration of the experiment."""
        return (self.config(point) for point in self.points())


def _paper(name: str, description: str, source: str, **parts: Any) -> Experiment:
    fixed = dict(PAPER_RUN) | parts.pop("fixed", {})
    varied = set(parts["axes"]) | {
        key
        for bundle in parts.get("bundles", {}).values()
        for settings in bundle.values()
        for key in settings
    }
    fixed = {key: value for key, value in fixed.items() if key not in varied}
    return Experiment(name, description, source, fixed=fixed, **parts)


EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "demo",
            "SGD remembers σw, Adam forgets: small, on embedded data, minutes on a laptop",
            "§3.1 in miniature",
            axes={
                "optimizer": ("sgd", "momentum", "adam"),
                "batch_size": (64,),
                "sigma_w": SIGMA_W_COARSE,
                "seed": PAPER_SEEDS[:3],
            },
            fixed={"dataset": "digits", "width": 8, "epochs": 40, "learning_rate": 1e-3},
        ),
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
}
