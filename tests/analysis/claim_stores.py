"""Stores of made-up runs with the paper's settings, whose accuracy over σw is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from synthetic_frames import Truth, frames

from analysis.store.frames import Problems, Store
from suite.declarations.config import PERTURBED
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.paper_experiments import PAPER_SEEDS

SMALL_NOISE = {"seed_noise": 0.002, "test_noise": 0.001}


def store(name: str, runs: pd.DataFrame, history: pd.DataFrame) -> Store:
    """A store of runs that has no problems."""
    return Store(name, runs, history, Problems(*(pd.DataFrame() for _ in range(5))))


def paper_store(
    experiment: str,
    spreads: Mapping[tuple[Any, ...], float],
    *,
    seeds: Sequence[int] = PAPER_SEEDS[:5],
    best: float = 0.85,
    truth: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    scales: Sequence[float] | None = None,
) -> Store:
    """Runs of some recipes, at every σw of the experiment, with accuracy falling linearly in σw.

    Parameters
    ----------
    spreads
        Values of the experiment's axes but σw and the seed, in their order, to spread in pp.
    best
        Expected test accuracy at the smallest σw.
    truth
        Fields of `synthetic_frames.Truth`.
    changes
        Settings that are not the paper's.
    scales
        Fewer σw than the experiment's.
    """
    found = EXPERIMENTS[experiment]
    names = [name for name in found.axes if name not in PERTURBED]
    rng = np.random.default_rng(0)
    parts = []
    for point, spread in spreads.items():
        recipe = found.settings(dict(zip(names, point, strict=True))) | (changes or {})
        one = Truth(
            **SMALL_NOISE
            | {"test_accuracy": lambda _, s, d=spread / 100: best - d * (s - s[0]) / np.ptp(s)}
            | dict(truth or {})
        )
        parts.append(
            frames([recipe], one, rng, scales=scales or found.axes["sigma_w"], seeds=seeds)
        )
    runs = pd.concat([runs for runs, _ in parts], ignore_index=True)
    runs["run_id"] = [f"{i:032x}" for i in range(len(runs))]
    first = np.cumsum([0, *(len(runs) for runs, _ in parts[:-1])])
    codes = np.concatenate(
        [h["run"].to_numpy() + at for at, (_, h) in zip(first, parts, strict=True)]
    )
    history = pd.concat([h.drop(columns=["run", "run_id"]) for _, h in parts], ignore_index=True)
    history.insert(0, "run_id", pd.Categorical.from_codes(codes, pd.Index(runs["run_id"])))
    return store(experiment, runs, history)


def verdict_on(claims: pd.DataFrame, claim: str) -> pd.Series[Any]:
    """One row of `claims.judge`."""
    (row,) = [row for _, row in claims.iterrows() if row["claim"] == claim]
    return row
