"""Made-up runs in which another setting than σw is perturbed, and its memory is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from synthetic_frames import SEEDS, Truth, frames

from analysis.store.frames import Problems, Store
from suite.declarations.config import RunConfig
from suite.declarations.perturbation import declared


def perturbed_store(
    perturbed: str,
    accuracies: Mapping[Any, float],
    recipes: Sequence[Mapping[str, Any]] = ({},),
    *,
    scales: Sequence[float] = (1.0,),
    noise: float = 0.0,
) -> Store:
    """Runs of every recipe, σw, value and seed, with these test accuracies whatever the recipe.

    Validation accuracy is 0.7 plus what test accuracy is above its mean, at every epoch.
    """
    middle = float(np.mean(list(accuracies.values())))
    kept = {"seed_noise": 0.0, "run_noise": noise, "epoch_noise": 0.0, "test_noise": noise}
    runs, histories = [], []
    for number, (value, accuracy) in enumerate(accuracies.items()):
        truth = Truth(test_accuracy=lambda _, x, level=accuracy: level + 0 * x, **kept)  # type: ignore[misc, arg-type]
        part, history = frames(
            [{**recipe, perturbed: value} for recipe in recipes],
            truth,
            np.random.default_rng(number),
            scales=scales,
            seeds=SEEDS,
        )
        names = {run: f"{number}{run[1:]}" for run in part["run_id"]}
        runs.append(part.assign(run_id=part["run_id"].map(names)))
        moved = history["val_accuracy"] + accuracy - middle
        own = history["run_id"].astype(str).map(names)
        histories.append(history.assign(run_id=own, val_accuracy=moved))
    table = pd.concat(runs, ignore_index=True)
    history = pd.concat(histories, ignore_index=True)
    history["run_id"] = pd.Categorical(history["run_id"], categories=table["run_id"].tolist())
    nothing = Problems(*(pd.DataFrame() for _ in range(5)))
    return Store("made", table, history, nothing, perturbation=declared(RunConfig, perturbed))
