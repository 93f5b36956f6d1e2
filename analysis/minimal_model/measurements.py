"""The minimal model's runs as tidy frames, and the numbers that are read off them.

Runs come from `suite.minimal_model`; here they become one row per recorded step. Exponents are
least-squares slopes in log–log coordinates with their standard errors. A collapse is measured along
the clock: the times at which the curves of an experiment pass the same |D|/|D_0| are compared, and
what is reported is how far they lie apart, in the clock and in step counts (the null).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray

from suite.minimal_model import experiments, orders
from suite.minimal_model.scalar import imbalance

SETTING = ["learning_rate", "batch_size", "weight_decay"]
CLOCK_NAMES: tuple[experiments.ClockName, ...] = (
    "steps",
    "T_SGD",
    "T_L2",
    "T_adapt",
    "sum_eta_squared",
)
EXPECTED_ORDERS = {
    "euclidean": 2.0,
    "adam": 1.0,
    "diagonal_preconditioner": 1.0,
    "separate_layer_noise": 1.0,
    "batch_dependent_part": -1.0,
}
EXPECTED_EXPONENTS = {
    "finite_steps": {"learning_rate": -2.0, "batch_size": 1.0},
    "norm_decay": {"learning_rate": -1.0, "batch_size": 0.0, "weight_decay": -1.0},
    "preconditioning": {"learning_rate": -1.0, "batch_size": 0.0},
    "adam_on_minimum": {"learning_rate": -2.0, "batch_size": 0.0},
}


def trajectories(seed: int) -> pd.DataFrame:
    """Figure 9's runs: one row per trajectory, learning rate and recorded step.

    Returns
    -------
    DataFrame
        trajectory, optimizer, targets, learning_rate, step, a, b, imbalance (D = a² − b²).
    """
    frames = []
    for trajectory in experiments.FIGURE_9:
        for learning_rate in experiments.RATES:
            record, path = experiments.run_trajectory(trajectory, learning_rate, seed)
            frame = pd.DataFrame({"step": record, "a": path[:, 0], "b": path[:, 1]})
            frame["imbalance"] = imbalance(path)
            frame.insert(0, "learning_rate", learning_rate)
            frame.insert(0, "targets", trajectory.targets)
            frame.insert(0, "optimizer", trajectory.optimizer)
            frame.insert(0, "trajectory", trajectory.name)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def final_states(paths: pd.DataFrame) -> pd.DataFrame:
    """The last row of each run of `trajectories`, with product = ab."""
    last = paths.groupby(["trajectory", "learning_rate"], sort=False).tail(1)
    return last.assign(product=last["a"] * last["b"]).reset_index(drop=True)


def clock_curves(seed: int) -> pd.DataFrame:
    """The clock experiments' runs: one row per setting and recorded step.

    Returns
    -------
    DataFrame
        experiment, learning_rate, batch_size, weight_decay, fraction (D/D_0), and the clocks steps,
        T_SGD, T_L2, T_adapt and sum_eta_squared (Σ η², without 1/b).
    """
    frames = []
    streams = np.random.default_rng(seed).spawn(len(experiments.CLOCKS))
    for experiment, generator in zip(experiments.CLOCKS, streams, strict=True):
        for setting in experiment.settings():
            record, fraction = experiments.run_clock_setting(experiment, setting, generator)
            clocks = {str(name): setting.clock(name, record) for name in CLOCK_NAMES}
            frame = pd.DataFrame({"fraction": fraction, **clocks})
            for column in reversed(SETTING):
                frame.insert(0, column, getattr(setting, column))
            frame.insert(0, "experiment", experiment.name)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def passing_times(curves: pd.DataFrame) -> pd.DataFrame:
    """When each curve first passes each level of |D|/|D_0|, on every clock.

    Returns
    -------
    DataFrame
        experiment, the setting, level, and the clocks at the passing, interpolated between
        recorded steps. A curve that ends above a level has no row for it.
    """
    levels = {experiment.name: experiment.levels for experiment in experiments.CLOCKS}
    frames = []
    for key, curve in curves.groupby(["experiment", *SETTING], sort=False):
        name, *setting = cast("tuple[str, float, int, float]", key)
        passed = _first_passings(
            curve["steps"].to_numpy(), curve["fraction"].to_numpy(), levels[name]
        )
        frame = pd.DataFrame({"level": levels[name], "steps": passed}).dropna()
        per_step = curve[list(CLOCK_NAMES)].iloc[-1] / curve["steps"].iloc[-1]
        for clock in CLOCK_NAMES[1:]:
            frame[clock] = per_step[clock] * frame["steps"]
        for column, value in reversed(list(zip(SETTING, setting, strict=True))):
            frame.insert(0, column, value)
        frame.insert(0, "experiment", name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _first_passings(
    steps: NDArray[np.float64], fraction: NDArray[np.float64], levels: Sequence[float]
) -> list[float]:
    passed = []
    for level in levels:
        below = np.flatnonzero(fraction < level)
        if below.size == 0:
            passed.append(np.nan)
            continue
        after = below[0]  # the start is at 1, above every level
        height = (fraction[after - 1] - level) / (fraction[after - 1] - fraction[after])
        passed.append(float(steps[after - 1] + height * (steps[after] - steps[after - 1])))
    return passed


def collapse(passings: pd.DataFrame) -> pd.DataFrame:
    """How far apart the curves of each experiment lie, on each clock.

    Returns
    -------
    DataFrame
        experiment, clock; spread, the root of the mean over levels of the variance between curves
        of the log passing time (0 is a perfect collapse; e^spread is a typical factor), with its
        jackknife standard error over curves; residual_share, the same mean square over that in
        step counts (0 perfect, 1 no better than counting steps); curves, the number of settings.
    """
    rows = []
    for name, group in passings.groupby("experiment", sort=False):
        tables = {
            clock: _log_passings(group, clock) for clock in CLOCK_NAMES if (group[clock] > 0).all()
        }
        null = _mean_square(tables["steps"])
        for clock, table in tables.items():
            rows.append(
                {
                    "experiment": name,
                    "clock": clock,
                    "spread": np.sqrt(_mean_square(table)),
                    "spread_se": _jackknife_error(table),
                    "residual_share": _mean_square(table) / null,
                    "curves": len(table),
                }
            )
    return pd.DataFrame(rows)


def _log_passings(group: pd.DataFrame, clock: str) -> NDArray[np.float64]:
    """Log passing times, one row per curve; only levels that every curve passes."""
    table = group.pivot_table(index=SETTING, columns="level", values=clock).dropna(axis=1)
    if table.shape[1] == 0:
        raise ValueError(f"levels: one that every curve passes, got none on {clock}; lengthen runs")
    return np.asarray(np.log(table.to_numpy()))


def _mean_square(table: NDArray[np.float64]) -> float:
    return float(table.var(axis=0, ddof=1).mean())


def _jackknife_error(table: NDArray[np.float64]) -> float:
    without = [np.sqrt(_mean_square(np.delete(table, row, axis=0))) for row in range(len(table))]
    return float(np.sqrt((len(table) - 1) * np.var(without)))


def clock_exponents(passings: pd.DataFrame) -> pd.DataFrame:
    """How the steps to forget grow with η, b and λ, one fit per experiment.

    ln(steps), averaged over levels so that each setting is one observation, on the logs of the
    axes that vary. Ordinary least squares.

    Returns
    -------
    DataFrame
        quantity, axis, exponent, standard_error, expected, observations.
    """
    frames = []
    for name, expected in EXPECTED_EXPONENTS.items():
        group = passings[passings["experiment"] == name]
        log_steps = np.log(group["steps"]).groupby([group[axis] for axis in SETTING]).mean()
        axes = log_steps.index.to_frame()[list(expected)]
        frames.append(_power_law(name, axes, log_steps.to_numpy(), expected))
    return pd.concat(frames, ignore_index=True)


def order_leaks(seed: int) -> pd.DataFrame:
    """Sizes of the leak in random deep linear networks: law, axis, at, size."""
    measured = {
        "euclidean": orders.euclidean_leaks(seed),
        "adam": orders.adam_leaks(seed),
        "diagonal_preconditioner": orders.preconditioned_leaks(seed),
        "separate_layer_noise": orders.separate_noise_leaks(seed),
        "batch_dependent_part": orders.batch_dependent_parts(seed),
    }
    frames = []
    for law, sizes in measured.items():
        on_batch = law == "batch_dependent_part"
        at = orders.BATCH_SIZES if on_batch else orders.RATES
        axis = "batch_size" if on_batch else "learning_rate"
        frames.append(pd.DataFrame({"law": law, "axis": axis, "at": at, "size": sizes}))
    return pd.concat(frames, ignore_index=True)


def order_exponents(leaks: pd.DataFrame) -> pd.DataFrame:
    """The slopes of `order_leaks` in log–log coordinates, as `clock_exponents` gives them."""
    frames = []
    for (law, axis), group in leaks.groupby(["law", "axis"], sort=False):
        axes = pd.DataFrame({axis: group["at"].to_numpy()})
        expected = {str(axis): EXPECTED_ORDERS[str(law)]}
        frames.append(_power_law(str(law), axes, np.log(group["size"].to_numpy()), expected))
    return pd.concat(frames, ignore_index=True)


def _power_law(
    quantity: str, axes: pd.DataFrame, log_values: NDArray[np.float64], expected: dict[str, float]
) -> pd.DataFrame:
    design = sm.add_constant(np.log(axes.to_numpy(dtype=np.float64)))
    fit = sm.OLS(log_values, design).fit()
    return pd.DataFrame(
        {
            "quantity": quantity,
            "axis": list(expected),
            "exponent": fit.params[1:],
            "standard_error": fit.bse[1:],
            "expected": list(expected.values()),
            "observations": int(fit.nobs),
        }
    )
