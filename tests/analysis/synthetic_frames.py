"""Runs and history frames of made-up runs whose memory, β(t) and norms are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.synthetic_truth import trainable_parameters
from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import (
    EPOCH_METRIC_NAMES,
    INTERPOLATION_THRESHOLD,
    SUMMARY_METRIC_NAMES,
)

Floats = NDArray[np.float64]
SEEDS = (0, 1, 42, 123, 456)
SCALES = (0.1, 0.5, 1.0, 1.8, 2.5)
TRAIN_IMAGES, TEST_IMAGES = 1000, 400


@dataclass(frozen=True)
class Truth:
    """What is true of a store.

    Attributes
    ----------
    beta
        Configuration to β at each epoch, shape (epochs,), per unit of σw.
    test_accuracy
        Configuration and σw, shape (S,), to expected test accuracy, shape (S,).
    norm_slope
        Slope of log ‖W‖ at τ_best on log ‖W‖ at the start.
    """

    beta: Callable[[RunConfig], Floats] = lambda config: np.zeros(config.epochs)
    test_accuracy: Callable[[RunConfig, Floats], Floats] = lambda _, scales: 0.8 + 0 * scales
    norm_slope: float = 0.5
    interpolation_rate: float = 0.2
    seed_noise: float = 0.01
    run_noise: float = 0.005
    epoch_noise: float = 0.003
    test_noise: float = 0.005


def frames(
    recipes: Sequence[Mapping[str, Any]],
    truth: Truth,
    rng: np.random.Generator,
    *,
    scales: Sequence[float] = SCALES,
    seeds: Sequence[int] = SEEDS,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A finished run for every recipe, σw and seed; the runs are shuffled."""
    configs, histories, summaries = [], [], []
    for recipe in recipes:
        base = parse({"dataset": "digits", "epochs": 30, **recipe})
        for config, history, summary in _cell(base, truth, rng, scales, seeds):
            configs.append(config)
            histories.append(history)
            summaries.append(summary)
    order = rng.permutation(len(configs))
    runs = pd.DataFrame([configs[i].model_dump() for i in order])
    runs.insert(0, "run_id", [f"{i:032x}" for i in order])
    runs.insert(1, "fingerprint", [configs[i].fingerprint for i in order])
    runs.insert(2, "diverged", False)
    runs["train_images"], runs["test_images"] = TRAIN_IMAGES, TEST_IMAGES
    metrics = pd.DataFrame([summaries[i] for i in order], columns=list(SUMMARY_METRIC_NAMES))
    runs = pd.concat([runs, metrics.astype(np.float64)], axis=1)
    return runs, _history_frame(runs, [histories[i] for i in order])


def _cell(
    base: RunConfig,
    truth: Truth,
    rng: np.random.Generator,
    scales: Sequence[float],
    seeds: Sequence[int],
) -> list[tuple[RunConfig, Floats, dict[str, float]]]:
    sigma = np.asarray(scales, dtype=np.float64)
    epoch = np.arange(1, base.epochs + 1)
    beta, accuracy = truth.beta(base), truth.test_accuracy(base, sigma)
    common = truth.seed_noise * rng.standard_normal(len(seeds))
    times = clocks(base, TRAIN_IMAGES)
    made = []
    for s, scale in enumerate(sigma):
        for g, seed in enumerate(seeds):
            own = truth.run_noise * rng.standard_normal()
            wiggle = truth.epoch_noise * rng.standard_normal(base.epochs)
            val = 0.7 + beta * (scale - sigma.mean()) + common[g] + own + wiggle
            train = 1 - 0.5 * np.exp(-truth.interpolation_rate * epoch / scale)
            loss = (epoch / base.epochs - 0.6) ** 2 + 0.01 * rng.standard_normal(base.epochs)
            start = 10 * scale * (1 + 0.01 * rng.standard_normal())
            norm = start ** (1 - (1 - truth.norm_slope) * np.minimum(1, epoch / 10))
            history = np.column_stack([train, train, loss, val, norm, np.full_like(val, 1e-3)])
            best = int(loss.argmin())
            fitted = np.flatnonzero(train >= INTERPOLATION_THRESHOLD)
            first = fitted[0] if fitted.size else None
            summary = {
                "test_accuracy": accuracy[s] + common[g] + truth.test_noise * rng.standard_normal(),
                "best_epoch": best + 1,
                "interpolation_epoch": np.nan if first is None else first + 1,
                "repair_gap": np.nan if first is None else val[best] - val[first],
                "kernel_norm_initial": start,
                "kernel_norm_best": norm[best],
                "trainable_parameters": float(trainable_parameters(base)),
                "epochs_trained": base.epochs,
                "clock_sgd": times.sgd[-1],
                "clock_l2": times.l2[-1],
                "clock_adapt": times.adapt[-1],
            }
            made.append((base.with_(sigma_w=float(scale), seed=seed), history, summary))
    return made


def _history_frame(runs: pd.DataFrame, histories: Sequence[Floats]) -> pd.DataFrame:
    lengths = [len(history) for history in histories]
    codes = np.repeat(np.arange(len(runs)), lengths)
    frame = pd.DataFrame(
        {
            "run": codes,
            "run_id": pd.Categorical.from_codes(codes, runs["run_id"].tolist()),
            "epoch": np.concatenate([np.arange(1, n + 1) for n in lengths]).astype(np.int32),
        }
    )
    frame[list(EPOCH_METRIC_NAMES)] = np.concatenate(histories)
    return frame
