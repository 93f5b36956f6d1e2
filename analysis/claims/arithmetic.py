"""The claims that need no runs: clocks at a constant rate, and the minimal model of App. G."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np

from analysis.claims.clock_order import ClockOrderClaim, ClockTerm
from analysis.claims.numbers import Region
from analysis.claims.paper_file import ClockClaim, MinimalClaim
from analysis.claims.recipes import declared_recipe
from analysis.claims.rule import Part
from analysis.claims.statistics import Exact, Measured, Statistic
from analysis.estimates.clock_axis import axes
from suite.declarations.config import RunConfig
from suite.minimal_model import experiments
from suite.minimal_model.scalar import imbalance

REPLICATES = 5  # of the minibatch targets that are drawn
POINTS = 50  # kept of a trajectory
ABOVE = Region(1.0, math.inf, "> 1")


def clock_parts(claim: ClockClaim, region: Region) -> tuple[list[Part], str]:
    """The clock with η_k = η0, and a word on what it is at the schedule's own rates."""
    config = declared_recipe(claim.base, claim.recipe).config
    images = train_images(config)
    value = float(axes(config, images, constant_rate=True)[claim.clock][-1])
    note = ""
    if config.schedule != "constant":
        note = f"{axes(config, images)[claim.clock][-1]:.3g} with the schedule's own rates"
    return [Part("", Exact(value), region)], note


def clock_order_parts(claim: ClockOrderClaim) -> list[Part]:
    """The ratio of every two clocks of neighbouring groups, with η_k = η0."""
    return [
        Part(f"{higher.name} / {lower.name}", Exact(_clock(higher) / _clock(lower)), ABOVE)
        for above, below in pairwise(claim.order)
        for higher in above
        for lower in below
    ]


def _clock(term: ClockTerm) -> float:
    config = term.declared.config
    times = axes(config, train_images(config), constant_rate=True)
    return term.factor * float(times[term.clock][-1])


def train_images(config: RunConfig) -> int:
    """Images of the training split of a known data set."""
    images = config.training_part or 0
    held_out = round(images * config.validation_fraction)
    return round((images - held_out) * config.train_fraction)


def minimal_parts(claim: MinimalClaim, region: Region, seed: int) -> list[Part]:
    """D at the start or the end, for each rate; over replicates where targets are drawn."""
    several = len(claim.learning_rates) > 1
    return [
        Part(
            f"η={rate:g}" if several else "",
            _imbalance(claim.trajectory, rate, claim.when == "start", seed),
            region,
        )
        for rate in claim.learning_rates
    ]


@cache
def _imbalance(name: str, rate: float, start: bool, seed: int) -> Measured:
    trajectory = next(one for one in experiments.FIGURE_9 if one.name == name)
    row = 0 if start else -1
    draws = trajectory.targets == "drawn"
    ends = [
        imbalance(experiments.run_trajectory(trajectory, rate, one, POINTS)[1])[row]
        for one in range(seed, seed + (REPLICATES if draws else 1))
    ]
    return Statistic.mean_of(np.array(ends)) if draws else Exact(float(ends[0]))
