"""Do 95 % intervals hold the truth in 95 % of simulated stores?"""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_frames import Truth, frames

from analysis.estimates.forgetting_by_recipe import forgetting_times
from analysis.estimates.forgetting_time import forgetting_time
from analysis.estimates.memory import memory
from analysis.estimates.sensitivity import sensitivity
from analysis.estimates.spread import cross_validated, extremes, interval
from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig

pytestmark = pytest.mark.slow
STORES = 300
TAU = 3e-6
SEEDS = (0, 1, 42, 123, 456, 789, 999, 2024, 2025, 2026)
SHAPES = {
    "none": np.zeros_like,
    "linear": lambda s: (s - 0.1) / 2.4,
    "threshold": lambda s: np.clip(s - 1.3, 0, None) / 1.2,
    "step": lambda s: (s > 0.9).astype(float),
}
LOSS = {"none": 0.0, "linear": 0.1, "threshold": 0.02, "step": 0.05}


def beta(config: RunConfig) -> np.ndarray:
    return -0.05 * np.exp(-clocks(config, 1000).sgd / TAU)


def intervals_that_hold(seeds: int) -> dict[str, list[bool]]:
    """Memory, β at every tenth epoch and forgetting time of one recipe, shape by shape."""
    held: dict[str, list[bool]] = {"memory": [], "beta": [], "time": []}
    for i in range(STORES):
        shape = list(SHAPES)[i % len(SHAPES)]
        truth = Truth(beta=beta, test_accuracy=lambda _, s, n=shape: 0.9 - LOSS[n] * SHAPES[n](s))
        runs, history = frames(
            [{"batch_size": 32}], truth, np.random.default_rng(i), seeds=SEEDS[:seeds]
        )
        row = memory(runs, permutations=1).iloc[0]
        held["memory"].append(bool(row["low"] <= LOSS[shape] <= row["high"]))
        config = RunConfig(dataset="digits", epochs=30, batch_size=32)
        table = sensitivity(runs, history).iloc[[0, 10, 20, 29]]
        true = beta(config)[[0, 10, 20, 29]]
        held["beta"] += list((table["low"] <= true) & (true <= table["high"]))
        time = forgetting_times(runs, history).iloc[0]
        crossing = clocks(config, 1000).sgd[0] + TAU
        held["time"].append(bool(time["low"] <= crossing <= time["high"]))
    return held


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_between_92_and_98_percent_of_stores(seeds: int) -> None:
    for name, held in intervals_that_hold(seeds).items():
        print(f"{seeds} seeds, {name}: {np.mean(held):.3f} of {len(held)}")
        assert 0.92 <= np.mean(held) <= 0.98, (name, np.mean(held))


def test_the_percentile_bootstrap_of_the_range_does_not_cover() -> None:
    """Why the interval is another one."""
    rng = np.random.default_rng(0)
    ours, bootstrap = [], []
    for _ in range(STORES):
        values = rng.standard_normal((5, 10))
        honest, plain = cross_validated(values, rng), extremes(values)
        low, high = interval(values, plain, honest, 0.95)
        weights = rng.multinomial(10, np.full(10, 0.1), 400) / 10
        quantiles = np.quantile(np.ptp(weights @ values.T, axis=1), [0.025, 0.975])
        ours.append(low <= 0 <= high)
        bootstrap.append(quantiles[0] <= 0 <= quantiles[1])
    assert np.mean(bootstrap) < 0.05
    assert np.mean(ours) >= 0.92


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("part", [0.15, 0.4, 0.8])
def test_forgetting_time_is_covered_under_lasting_and_passing_noise(
    seeds: int, part: float
) -> None:
    rng = np.random.default_rng(0)
    clock = np.linspace(0.01, 1, 100)
    beta_t = np.exp(-clock / part)
    held = []
    for _ in range(STORES):
        lasting = 1 + 0.05 * rng.standard_normal((seeds, 1))
        by_seed = lasting * beta_t + 0.1 * rng.standard_normal((seeds, clock.size))
        found = forgetting_time(clock, by_seed)
        if found.status != "undetermined":
            held.append(found.low <= part + clock[0] <= found.high)
    print(f"{seeds} seeds, {part} of the horizon: {np.mean(held):.3f} of {len(held)}")
    assert len(held) > 0.9 * STORES
    assert np.mean(held) >= 0.92
