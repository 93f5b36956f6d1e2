"""How often 95 % intervals hold the truth where reality is unkind: `python -m benchmarks.coverage`.

A *case* is a method in a world: it draws one sample of that world, by formulas of its own, lets the
method estimate, and says whether its interval holds the truth (None: the method gave none). To add
a method, write such a function and name its worlds with `case`. Printed is, by number of seeds, the
percentage that is held; in brackets the percentage of samples with an answer, where it is below
95; and a star outside 92 to 98. The last line goes through an MLflow store.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.estimates.boundary import boundary
from analysis.estimates.cluster_slope import cluster_slopes
from analysis.estimates.dose_response import half_loss, lack_of_fit
from analysis.estimates.forgetting_time import forgetting_time
from analysis.estimates.layer_memory import forgotten_at
from analysis.estimates.memory_level import half_of_largest
from analysis.estimates.no_memory import p_value
from analysis.estimates.scale_table import median_over_seeds
from analysis.estimates.spread import cross_validated, extremes, interval
from analysis.estimates.variance import of_array
from benchmarks.coverage_function import (
    FUNCTIONS,
    function_memory_held,
    memory_over_images_held,
    no_function_memory_held,
)
from benchmarks.coverage_law import LawWorld, accuracies, law_slope_held
from benchmarks.coverage_memory import MEMORY, NOISE, World, memory_sample
from benchmarks.coverage_store import memory_held
from suite.declarations.layers import is_measured

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], bool | None]
SEEDS = (2, 3, 5, 10)
WHOLE = {"method": "memory, store to estimate", "world": "equal noise 5 σw"}
CASES: dict[tuple[str, str], Draw] = {}


def case(method: str, **worlds: object) -> Callable[[Callable[..., bool | None]], None]:
    """Register `draw(rng, seeds, setting)` in each world, under the world's name."""

    def register(draw: Callable[..., bool | None]) -> None:
        for name, setting in worlds.items():
            world = name.replace("_", " ")
            CASES[method, world] = lambda rng, seeds, s=setting: draw(rng, seeds, s)

    return register


# --- memory ---
@case("memory", **MEMORY)
def _memory(rng: np.random.Generator, seeds: int, world: World) -> bool | None:
    means, values = memory_sample(rng, seeds, world)
    low, high = interval(values, extremes(values), cross_validated(values, rng), 0.95)
    return None if math.isnan(low) else low <= np.ptp(means) <= high


@case("memory", a_tenth_of_runs_fails_at_the_largest_σw=(5, "falls", "equal", 0.0))
def _failures(rng: np.random.Generator, seeds: int, world: World) -> bool | None:
    """A tenth of the runs at the largest σw fails, and counts as what it returns."""
    means, values = memory_sample(rng, seeds, world, 20.0)
    lost, worse = 0.1, 20.0
    values[-1] -= worse * (rng.random(seeds) < lost)
    low, high = interval(values, extremes(values), cross_validated(values, rng), 0.95)
    return None if math.isnan(low) else low <= np.ptp(means) + lost * worse <= high


# --- memory of the function ---
case("function memory", **FUNCTIONS)(function_memory_held)
case("no function memory", seeds_alone_5_σw=(5, 0.0, 0.2, 400))(no_function_memory_held)
case("memory over images", **FUNCTIONS)(memory_over_images_held)


# --- what else is asked of the worlds of memory ---
NO_MEMORY = {name: world for name, world in MEMORY.items() if world[1] in ("falls", "late")}


@case("no memory, p > 0.05", **NO_MEMORY)
def _no_memory(rng: np.random.Generator, seeds: int, world: World) -> bool | None:
    _, values = memory_sample(rng, seeds, world, 0.0)
    found = p_value(values, 199, rng)
    return None if math.isnan(found) else found > 0.05


@case("share of σw", **{name: MEMORY[name] for name in list(MEMORY)[:5]})
def _share(rng: np.random.Generator, seeds: int, world: World) -> bool | None:
    means, values = memory_sample(rng, seeds, world, 10.0)
    place = np.linspace(0, 1, means.size)
    between = float(means.var(ddof=1))
    truth = between / (between + 1 + float((NOISE[world[2]](place) ** 2).mean()))
    found = of_array(np.geomspace(0.1, 2.5, means.size), values)
    return (
        None
        if math.isnan(found["sigma_w_low"])
        else found["sigma_w_low"] <= truth <= found["sigma_w_high"]
    )


@case("half-way σw", **{name: MEMORY[name] for name in list(MEMORY)[:5]})
def _half_way(rng: np.random.Generator, seeds: int, world: World) -> bool | None:
    means, values = memory_sample(rng, seeds, world, 10.0)
    scales = np.linspace(0.1, 2.5, means.size)
    middle = (means[0] + means[-1]) / 2
    truth = math.exp(np.interp(-middle, -means, np.log(scales)))
    _, low, high = half_loss(scales, values, 0.95)
    return None if math.isnan(low) else low <= truth <= high


@case("a line fits, p > 0.05", **{name: MEMORY[name] for name in list(MEMORY)[:3]})
def _line(rng: np.random.Generator, seeds: int, world: World) -> bool | None:
    means, values = memory_sample(rng, seeds, world, 10.0)
    found = lack_of_fit(np.linspace(0.1, 2.5, means.size), values)
    return None if math.isnan(found) else found > 0.05


# --- slope on σw (β at one epoch) ---
@case(
    "slope",
    equal_noise_5_σw=(5, 1.0, "whole"),
    equal_noise_25_σw=(25, 1.0, "whole"),
    noise_grows_10x_5_σw=(5, 10.0, "whole"),
    a_quarter_missing=(5, 1.0, "holes"),
    each_seed_its_own_σw=(3, 1.0, "disjoint"),
)
def _slope(rng: np.random.Generator, seeds: int, setting: tuple[int, float, str]) -> bool | None:
    scales, growth, kind = setting
    if kind == "disjoint":
        scales *= seeds
    x = np.linspace(0.1, 2.5, scales)
    y = accuracies(rng, seeds, -0.05 * x, growth, 0.01)
    if kind == "holes":
        y[rng.random(y.shape) < 0.25] = np.nan
    if kind == "disjoint":
        owner = np.arange(scales) // 3
        y[owner[:, None] != np.arange(seeds)] = np.nan
    found = cluster_slopes(x[:, None], y[:, :, None])
    half = found.half_width(0.95)[0]
    return bool(abs(found.slope[0] + 0.05) <= half) if np.isfinite(half) else None


# --- the forgetting law: the slope of 12 recipes on one clock ---
case(
    "law",
    all_seen=LawWorld(-1.0),
    a_third_unseen=LawWorld(-1.6),
    a_third_unseen_noise_grows_10x=LawWorld(-1.6, growth=10.0),
    a_third_unseen_no_scatter=LawWorld(-1.6, scatter=0.0),
    a_seed_adds_2_pp_to_all_recipes=LawWorld(-1.0, added=0.02),
    a_seed_tilts_the_law=LawWorld(-1.0, tilt=0.6),
)(law_slope_held)


# --- the boundary: 12 recipes, memory 20 pp that falls through 10 pp ---
@case("boundary", distinct_clocks=1, three_share_a_clock=3, two_clocks=6)
def _boundary(rng: np.random.Generator, seeds: int, shared: int) -> bool | None:
    log = np.repeat(np.linspace(-3, 3, 12 // shared), shared)
    truth = rng.uniform(-2, 2)
    memories = 0.2 / (1 + np.exp(2 * (log - truth))) * np.exp(0.3 * rng.standard_normal(12))
    deviations = 0.02 * rng.standard_normal((12, seeds))
    above = memories + deviations.mean(1) - 0.1
    deviations -= deviations.mean(1, keepdims=True)
    found = boundary("T_SGD", log, above, deviations, 0.1, rng, resamples=200)
    return None if found.reason else found.low <= math.exp(truth) <= found.high


# --- the level: recipes without memory, of which none is to have a level ---
@case("no level", of_12_recipes=(12, 1.0), of_25_recipes_noise_grows_10x=(25, 10.0))
def _level(rng: np.random.Generator, seeds: int, setting: tuple[int, float]) -> bool | None:
    recipes, growth = setting
    rows = []
    for _ in range(recipes):
        values = accuracies(rng, seeds, np.zeros(5), growth, 0.02)
        validated = cross_validated(values, rng)
        low, _ = interval(values, extremes(values), validated, 0.95)
        rows.append((validated, low, seeds))
    return math.isnan(half_of_largest(pd.DataFrame(rows, columns=["corrected", "low", "seeds"])))


# --- forgetting time ---
@case("forgetting time", exponential="exp", small_overshoot="over")
def _time(rng: np.random.Generator, seeds: int, kind: str) -> bool | None:
    clock = np.linspace(0.01, 1, 100)
    beta = np.exp(-clock / 0.2)
    if kind == "over":  # to a tenth of the peak on the other side
        beta = 1.1 * beta - 0.1
    lasting = 0.05 * rng.standard_normal((seeds, 1))
    found = forgetting_time(clock, beta + lasting + 0.1 * rng.standard_normal((seeds, 100)))
    truth = clock[np.flatnonzero(beta <= beta[0] / math.e)[0]]
    return None if math.isnan(found.low) else found.low <= truth <= found.high


@case("not forgotten", sign_swings="swings", comes_back="back")
def _returns(rng: np.random.Generator, seeds: int, kind: str) -> bool | None:
    log = np.linspace(0, math.log(100), 100)
    beta = 0.1 * np.cos(np.pi * log / log[-1])
    if kind == "back":
        beta = np.maximum(0.1 * np.exp(-2 * log), 0.06 * (log > 3.8))
    found = forgetting_time(np.exp(log), beta + 0.01 * rng.standard_normal((seeds, 100)))
    return found.status not in ("crossed", "immediate")


# --- median of τ_interp ---
@case("median τ_interp", all_fit=math.inf, a_third_stopped_early=30.0)
def _median(rng: np.random.Generator, seeds: int, stop: float) -> bool | None:
    fitted = np.ceil(rng.gamma(4, 6, seeds))
    last = np.where(rng.random(seeds) < 1 / 3, min(stop, 1000.0), 1000.0)
    found = median_over_seeds(np.where(fitted <= last, fitted, np.nan), last)
    truth = math.ceil(stats.gamma.median(4, scale=6))
    return None if math.isnan(found["low"]) else found["low"] <= truth <= found["high"]


# --- layers: worlds are (epoch of one half, sd of a seed's forgetting time, noise of an epoch) ---
@case(
    "layer's half",
    seeds_alike=(20.0, 0.02, 0.002),
    seeds_apart=(20.0, 0.3, 0.01),
    noisy_epochs=(20.0, 0.1, 0.05),
    late=(120.0, 0.2, 0.01),
)
def _layer(
    rng: np.random.Generator, seeds: int, setting: tuple[float, float, float]
) -> bool | None:
    """Cosines that decay as exp(−t/τ) with τ of its own for each seed, at the measured epochs."""
    half, apart, noise = setting
    epochs = np.array([epoch for epoch in range(1, 301) if is_measured(epoch, 300)], dtype=float)

    def cosines(count: int) -> Floats:
        times = half / math.log(2) * np.exp(apart * rng.standard_normal((count, 1)))
        return np.exp(-epochs / times)

    many = cosines(4000).mean(0)
    truth = math.exp(np.interp(-0.5, -many, np.log(epochs)))
    found = forgotten_at(epochs, cosines(seeds) + noise * rng.standard_normal((seeds, epochs.size)))
    return bool(found["low"] <= truth <= found["high"])


# --- the table ---
def table(cases: dict[tuple[str, str], Draw], samples: int) -> pd.DataFrame:
    """Percentage held, one row per case and one column per number of seeds."""
    rows = []
    for (method, world), draw in cases.items():
        row = {"method": method, "world": world}
        for seeds in SEEDS:
            rng = np.random.default_rng([seeds, *f"{method} {world}".encode()])
            held = [draw(rng, seeds) for _ in range(samples)]
            row[f"{seeds} seeds"] = _cell([one for one in held if one is not None], samples)
        rows.append(row)
    return pd.DataFrame(rows)


def whole_pipeline(samples: int) -> pd.DataFrame:
    """The line of the table whose samples are recipes of one store."""
    held = memory_held(samples, SEEDS)
    cells = {
        f"{seeds} seeds": _cell([one for one in found if one is not None], samples)
        for seeds, found in held.items()
    }
    return pd.DataFrame([WHOLE | cells])


def _cell(held: list[bool], samples: int) -> str:
    if len(held) < samples / 20:
        return "none"
    rate, answered = 100 * float(np.mean(held)), 100 * len(held) / samples
    star = "" if 92 <= rate <= 98 else "*"
    return f"{rate:.1f}{star}" + (f" ({answered:.0f})" if answered < 95 else "")


def main() -> None:
    """Print the table as Markdown."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--samples", type=int, default=500, help="of each case (default 500)")
    made.add_argument("--only", default="", help="methods whose name holds this")
    chosen = made.parse_args()
    began = time.perf_counter()
    found = table({k: v for k, v in CASES.items() if chosen.only in k[0]}, chosen.samples)
    if chosen.only in WHOLE["method"]:
        found = pd.concat([found, whole_pipeline(chosen.samples)], ignore_index=True)
    print(f"| {' | '.join(found)} |\n|{'---|' * found.shape[1]}")
    for row in found.itertuples(index=False):
        print(f"| {' | '.join(row)} |")
    print(f"\n{chosen.samples} samples a cell, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
