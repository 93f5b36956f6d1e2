"""Stores at the shapes of the paper's experiments, whose accuracies are known exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from synthetic_frames import SCALES, Truth, frames

from analysis.estimates.clock_axis import ADAPTIVE
from analysis.store.frames import Problems, Store
from suite.declarations.config import PERTURBED, RunConfig
from suite.declarations.experiments import EXPERIMENTS

SEEDS = (0, 1, 42)
EPOCHS = 30
SPAN = SCALES[-1] - SCALES[0]


def fall(config: RunConfig) -> float:
    """How much test accuracy a unit of σw costs."""
    if config.optimizer in ADAPTIVE:
        return 0.01
    strength = 0.1 if config.learning_rate <= 1e-3 else 0.05
    return strength / (2.0 if config.kernel_l2 else 1.0)


def beta(config: RunConfig) -> np.ndarray:
    epoch = np.arange(1, config.epochs + 1)
    life = 4.0 if config.optimizer in ADAPTIVE else 1000.0
    return np.asarray(-0.1 * np.exp(-epoch / life))


EXACT = Truth(
    beta=beta,
    test_accuracy=lambda config, scales: 0.9 - fall(config) * scales,
    seed_noise=0.0,
    test_noise=0.0,
    run_noise=1e-3,
    epoch_noise=1e-3,
)


def store(
    name: str,
    recipes: Sequence[Mapping[str, Any]],
    *,
    scales: Sequence[float] = SCALES,
    seeds: Sequence[int] = SEEDS,
    truth: Truth = EXACT,
) -> Store:
    """A store of runs that has no problems."""
    runs, history = frames(recipes, truth, np.random.default_rng(0), scales=scales, seeds=seeds)
    return Store(name, runs, history, Problems(*(pd.DataFrame() for _ in range(5))))


def recipes_of(
    experiment: str, epochs: int = EPOCHS, **only: Sequence[Any]
) -> list[dict[str, Any]]:
    """The settings of an experiment's recipes, with fewer epochs and fewer values of some axes."""
    found = EXPERIMENTS[experiment]
    axes = {name: only.get(name, values) for name, values in found.axes.items()}
    points = _points({name: v for name, v in axes.items() if name not in PERTURBED})
    return [found.settings(point) | {"epochs": epochs} for point in points]


def _points(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    if not axes:
        yield {}
        return
    (name, values), *rest = axes.items()
    for value in values:
        for point in _points(dict(rest)):
            yield {name: value, **point}


def demo_recipes() -> list[dict[str, Any]]:
    rules = {"optimizer": ("sgd", "momentum", "adam"), "learning_rate": (1e-3,)}
    return recipes_of("demo", batch_size=(64,), **rules)


@cache
def demo() -> Store:
    return store("demo", demo_recipes())


@cache
def paper() -> dict[str, Store]:
    """All of the paper's experiments, each with a part of its grid."""
    sizes = (16, 128)
    return {
        "main": store("main", recipes_of("main", batch_size=(16, 32, 128))),
        "long": store("long", recipes_of("long", epochs=5000), seeds=(42,)),
        "lr-l2": store(
            "lr-l2",
            recipes_of("lr-l2", learning_rate=(1e-3, 1e-2), kernel_l2=(0.0, 1e-2)),
        ),
        "norm-aug": store("norm-aug", recipes_of("norm-aug")),
        "best": store("best", recipes_of("best", batch_size=sizes), scales=(0.1, 2.5)),
        "depth": store("depth", recipes_of("depth", optimizer=("sgd", "momentum", "adam"))),
    }
