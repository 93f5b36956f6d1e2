"""Coverage through the whole pipeline: runs of known memory, from an MLflow store to intervals.

All other lines of `benchmarks.coverage` draw arrays. Here each sample is a recipe of one store,
which is written as the suite writes its own, and read, sorted into recipes and estimated as for
`python -m analysis.phase_diagram`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.estimates.memory import memory
from analysis.store.frames import load
from benchmarks.synthetic_store import write
from benchmarks.synthetic_truth import Truth
from suite.declarations.config import RunConfig

SCALES = (0.1, 0.7, 1.3, 1.9, 2.5)
NOISE = 0.004
# As in the worlds of `coverage`: three standard errors of a mean over ten seeds.
MEMORY = 3 * NOISE / math.sqrt(10)


def recipe(number: int) -> RunConfig:
    """One of any number of recipes, each with its own curves and noise."""
    return RunConfig(dataset="digits", epochs=1, learning_rate=1e-3 * (1 + number / 1e4))


def memory_held(recipes: int, seeds: Sequence[int]) -> dict[int, list[bool | None]]:
    """Whether each recipe's interval of memory holds the truth, by number of seeds.

    None where a recipe has no interval.
    """
    truth = Truth(
        mean_sigma_w=float(np.mean(SCALES)),
        noise=NOISE,
        seed_effect=NOISE,
        chosen_beta=lambda config: np.full(config.epochs, -MEMORY / (SCALES[-1] - SCALES[0])),
    )
    configs = [
        recipe(number).with_(sigma_w=scale, seed=seed)
        for number in range(recipes)
        for scale in SCALES
        for seed in range(max(seeds))
    ]
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'coverage.db'}"
        write(uri, configs, experiment="coverage", truth=truth)
        runs = load("coverage", uri, cache=False).runs
    held = {}
    for count in seeds:
        some = runs[runs["seed"] < count].reset_index(drop=True)
        found = memory(some, permutations=1)
        assert len(found) == recipes  # else recipes would be mixed up on the way
        inside = (found["low"] <= MEMORY) & (found["high"] >= MEMORY)
        known = found["low"].notna()
        held[count] = [
            bool(one) if there else None for one, there in zip(inside, known, strict=True)
        ]
    return held
