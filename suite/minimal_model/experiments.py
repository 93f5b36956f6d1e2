"""The experiments on the scalar model: Figure 9 of the paper, and the clocks measured.

All start at (a, b) = (1, 6), where D = −35, and minimize (ab − 1)², so g = 2(ab − y). Minibatch
gradients come from targets y in {0, 1, 2}, of mean 1 and variance 2/3.

What Figure 9 leaves open
-------------------------
The caption's numbers decide three conventions:

- The loss has no factor ½. With g = ab − 1, GD at η = 0.04 would end at D = −33.3 instead of −3.1.
- Full-batch Adam freezes at −28.9 (η = 0.01) and −26.6 (η = 0.04), whatever ε in [1e-8, 1e-7]; the
  caption's −27 is where sign descent stops, −5√29 = −26.93.
- Minibatch Adam cannot have had both β1 = 0.9 and the cyclic targets of the SGD panel: η = 0.01 is
  then still at D = −8.5 after 200,000 steps (−3.1 after 400,000). Targets drawn independently bring
  it to −0.001, as in the caption; so would cyclic targets at β1 = 0, and the caption does not say
  which. Drawn targets with the usual β1 are the panel's, and the cyclic run is kept in the data.

What the clocks show
--------------------
The clocks' exponents hold as η → 0. At the rates below SGD needs η^−2.14 updates rather than η^−2:
the noise of ab itself adds, at the next order, a factor 1/(1 − η(a² + b²)). At b = 1 and rates four
times smaller the slope is about −2.03. T_adapt times Adam's way to the minimum, D/D_0 above 0.86
only. On the minimum the mean gradient is zero, Prop. 8's first-order term averages out, and D falls
on Σ η² without 1/b, so not on T_adapt but still untouched by the batch size;
`laws.adam_imbalance_on_minimum` derives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suite.minimal_model import scalar

START = (1.0, 6.0)
TARGET = 1.0
TARGET_VALUES = (0.0, 1.0, 2.0)
TARGET_VARIANCE = 2.0 / 3.0
RATES = (0.01, 0.04)


@dataclass(frozen=True)
class Trajectory:
    """One setting of Figure 9, run at both `RATES`.

    Attributes
    ----------
    name
        Key in the data.
    optimizer
        `sgd` is the Euclidean rule, with any targets.
    targets
        The full batch (y = 1), {0, 1, 2} in turn, or {0, 1, 2} drawn independently.
    steps
        Updates.
    """

    name: str
    optimizer: Literal["sgd", "adam"]
    targets: Literal["full", "cyclic", "drawn"]
    steps: int


FIGURE_9 = (
    Trajectory("gd", "sgd", "full", 20),
    Trajectory("sgd", "sgd", "cyclic", 50_000),
    Trajectory("adam_full_batch", "adam", "full", 5_000),
    Trajectory("adam_minibatch", "adam", "drawn", 200_000),
    Trajectory("adam_cyclic", "adam", "cyclic", 200_000),
)


def run_trajectory(
    trajectory: Trajectory, learning_rate: float, seed: int, points: int = 1500
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One run of Figure 9: the recorded update counts and (a, b) after them, shape (n, 2).

    Parameters
    ----------
    trajectory
        Which panel.
    learning_rate
        η.
    seed
        Of the drawn targets; the other settings are deterministic.
    points
        At most so many updates are kept, evenly in the logarithm of the step.
    """
    targets = {
        "full": lambda: scalar.cyclic_targets([TARGET]),
        "cyclic": lambda: scalar.cyclic_targets(TARGET_VALUES),
        "drawn": lambda: scalar.drawn_targets(TARGET_VALUES, 1, np.random.default_rng(seed)),
    }[trajectory.targets]()
    record = scalar.recorded_steps(trajectory.steps, points)
    run = scalar.adam_path if trajectory.optimizer == "adam" else scalar.euclidean_path
    return record, run(START, targets, learning_rate, record)


@dataclass(frozen=True)
class ClockSetting:
    """One point of a clock experiment: η, b and λ."""

    learning_rate: float
    batch_size: int
    weight_decay: float = 0.0

    def clock(self, name: ClockName, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The named clock after so many updates at this constant rate."""
        per_step = {
            "steps": 1.0,
            "T_SGD": self.learning_rate**2 / self.batch_size,
            "T_L2": self.weight_decay * self.learning_rate,
            "T_adapt": self.learning_rate,
            "sum_eta_squared": self.learning_rate**2,
        }[name]
        return np.asarray(per_step * steps)


ClockName = Literal["steps", "T_SGD", "T_L2", "T_adapt", "sum_eta_squared"]


@dataclass(frozen=True)
class ClockExperiment:
    """A grid of settings under one optimizer, run until its own clock shows `span`.

    Attributes
    ----------
    name, optimizer, clock
        What is run, and the clock on which its D should collapse.
    learning_rates, batch_sizes, weight_decays
        Axes of the grid.
    span
        Where the runs end, in units of `clock`.
    levels
        The fractions of D_0 whose passing times are compared, decreasing.
    replicates
        Independent runs a setting, averaged.
    """

    name: str
    optimizer: Literal["sgd", "adam"]
    clock: ClockName
    learning_rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    weight_decays: tuple[float, ...]
    span: float
    levels: tuple[float, ...]
    replicates: int = 1

    def settings(self) -> Iterator[ClockSetting]:
        """Every point of the grid."""
        for axes in product(self.learning_rates, self.batch_sizes, self.weight_decays):
            yield ClockSetting(*axes)


CLOCKS = (
    ClockExperiment(
        name="finite_steps",
        optimizer="sgd",
        clock="T_SGD",
        learning_rates=(0.002, 0.004, 0.008),
        batch_sizes=(1, 4, 16),
        weight_decays=(0.0,),
        span=0.7,
        levels=(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    ),
    ClockExperiment(
        name="norm_decay",
        optimizer="sgd",
        clock="T_L2",
        learning_rates=(0.001, 0.002, 0.004),
        batch_sizes=(1, 16),
        weight_decays=(0.1, 0.4),
        span=1.0,
        levels=(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    ),
    ClockExperiment(
        name="preconditioning",
        optimizer="adam",
        clock="T_adapt",
        learning_rates=(0.0005, 0.001, 0.002, 0.005, 0.01),
        batch_sizes=(1, 4, 16),
        weight_decays=(0.0,),
        span=1.5,
        levels=(0.98, 0.96, 0.94, 0.92, 0.9, 0.88, 0.86),
        replicates=8,
    ),
    ClockExperiment(
        name="adam_on_minimum",
        optimizer="adam",
        clock="sum_eta_squared",
        learning_rates=(0.002, 0.004, 0.008),
        batch_sizes=(1, 4, 16),
        weight_decays=(0.0,),
        span=2.0,
        levels=(0.6, 0.5, 0.4, 0.3, 0.2),
    ),
)


def run_clock_setting(
    experiment: ClockExperiment,
    setting: ClockSetting,
    generator: np.random.Generator,
    points: int = 300,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One curve: update counts, and D/D_0 after them averaged over the replicates."""
    total = round(experiment.span / setting.clock(experiment.clock, np.array([1]))[0])
    record = scalar.recorded_steps(total, points)
    curves = []
    for _ in range(experiment.replicates):
        targets = scalar.drawn_targets(TARGET_VALUES, setting.batch_size, generator)
        if experiment.optimizer == "adam":
            path = scalar.adam_path(START, targets, setting.learning_rate, record)
        else:
            path = scalar.euclidean_path(
                START,
                targets,
                setting.learning_rate,
                record,
                weight_decay=setting.weight_decay,
            )
        curves.append(scalar.imbalance(path))
    mean = np.mean(curves, axis=0)
    return record, np.asarray(mean / mean[0])
