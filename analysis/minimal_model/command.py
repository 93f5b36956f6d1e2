"""The minimal linear model of forgetting: Figure 9, the clocks measured, and the orders fitted.

``python -m analysis.minimal_model`` trains the networks of Das et al. 2026, App. G, draws two
figures (PNG and SVG), writes a CSV of every curve and of every number read off them, and prints the
numbers. ``--track`` keeps them as an MLflow run beside the networks' runs.

What comes out is about linear networks and about orders in the learning rate. It says neither that
forgetting is monotone nor what a network with BatchNorm does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.output import OutputFolder
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.settings import ConfigError

if TYPE_CHECKING:  # the libraries are imported when there is something to compute
    from pandas import DataFrame

FLAGS = ("out", "seed", "track", "tracking_uri")
FORMATS = ("png", "svg")
EXPERIMENT = "minimal_model"


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.minimal_model",
        description=__doc__.split("\n\n")[0],
        allow_abbrev=False,
    )
    made.add_argument(
        "--out",
        default="minimal_model",
        metavar="DIR",
        help="folder for the figures and CSV files (default: ./minimal_model)",
    )
    made.add_argument(
        "--seed",
        default="0",
        metavar="N",
        help="seed of the minibatches and random networks (default: 0)",
    )
    made.add_argument(
        "--track", action="store_true", help="log to MLflow, experiment minimal_model"
    )
    made.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="where MLflow keeps it (default: MLflow's own default)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 2 for bad input."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        seed = _seed(arguments.seed)
        uri = arguments.tracking_uri
        if uri is not None and not arguments.track:
            raise ConfigError(f"tracking_uri: acts only with --track, got {uri!r}; add --track")
        folder = OutputFolder(Path(arguments.out), FORMATS)
        folder.check()
        if arguments.track:
            _track(seed, folder, uri)
        else:
            produce(seed, folder)
    except ConfigError as error:
        complain(error)
        return BAD_INPUT
    return 0


def _track(seed: int, folder: OutputFolder, uri: str | None) -> None:
    """Do all of it inside an MLflow run of the experiment `EXPERIMENT`.

    Raises
    ------
    ConfigError
        If MLflow refuses the address or cannot open the store.
    """
    import mlflow

    from analysis.tracked import TrackingError, tracked_run
    from suite.minimal_model import experiments

    a, b = experiments.START
    params = {"seed": seed, "start_a": a, "start_b": b, "target": experiments.TARGET}
    try:
        with tracked_run(
            EXPERIMENT, experiment=EXPERIMENT, tracking_uri=uri, params=params
        ) as run_id:
            frames, files = produce(seed, folder)
            mlflow.log_metrics(metrics(frames), synchronous=True)
            for file in files:
                mlflow.log_artifact(str(file))
    except TrackingError as problem:
        raise ConfigError(str(problem)) from None
    print(f"tracked as MLflow run {run_id}")


def produce(seed: int, folder: OutputFolder) -> tuple[dict[str, DataFrame], list[Path]]:
    """Measure, write and print; returns the frames of `measure` and the files of `write`."""
    frames = measure(seed)
    files = write(frames, folder)
    print(summary(frames))
    print(f"\nwritten to {folder.path}: " + ", ".join(file.name for file in files))
    return frames, files


def measure(seed: int) -> dict[str, DataFrame]:
    """Train everything and measure it.

    Parameters
    ----------
    seed
        Of every minibatch and random network.

    Returns
    -------
    dict of DataFrame
        `trajectories`, `final_states`, `clock_curves`, `passing_times`, `collapse`, `order_leaks`
        and `exponents`; `analysis.minimal_model.measurements` describes their columns.
    """
    import pandas as pd

    from analysis.minimal_model import measurements

    trajectories = measurements.trajectories(seed)
    curves = measurements.clock_curves(seed)
    passings = measurements.passing_times(curves)
    leaks = measurements.order_leaks(seed)
    exponents = [measurements.order_exponents(leaks), measurements.clock_exponents(passings)]
    return {
        "trajectories": trajectories,
        "final_states": measurements.final_states(trajectories),
        "clock_curves": curves,
        "passing_times": passings,
        "collapse": measurements.collapse(passings),
        "order_leaks": leaks,
        "exponents": pd.concat(exponents, ignore_index=True),
    }


def write(frames: dict[str, DataFrame], folder: OutputFolder) -> list[Path]:
    """Both figures as PNG and SVG, and each frame as CSV; returns the files' paths."""
    import matplotlib as mpl

    from analysis.minimal_model import figures

    drawn = {
        "figure9": figures.figure_9(frames["trajectories"], frames["final_states"]),
        "clocks": figures.clocks_figure(
            frames["clock_curves"], frames["collapse"], frames["exponents"]
        ),
    }
    files: list[Path] = []
    with mpl.rc_context(figures.STYLE):
        for name, figure in drawn.items():
            files += folder.figure(name, figure)
    for name, frame in frames.items():
        text = frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")
        files.append(folder.text(f"{name}.csv", text))
    return files


def summary(frames: dict[str, DataFrame]) -> str:
    """Final imbalances, collapse numbers and exponents, as text."""
    ends = frames["final_states"][["trajectory", "targets", "learning_rate", "step", "imbalance"]]
    collapses = frames["collapse"].copy()
    tables = {
        "D = a² − b² at the end (−35 at the start)": ends,
        "Spread of log passing times between settings, by clock": collapses,
        "Fitted exponents": frames["exponents"],
    }
    return "\n\n".join(
        f"{title}\n" + table.to_string(index=False, float_format=lambda value: f"{value:.4g}")
        for title, table in tables.items()
    )


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"seed: must be a whole number ≥ 0, got {text!r}; try --seed 0")
    return int(text)


def metrics(frames: Mapping[str, DataFrame]) -> dict[str, float]:
    """Final imbalances, exponents with standard errors, and collapse numbers, by metric name."""
    values: dict[str, float] = {}
    for end in frames["final_states"].to_dict("records"):
        values[f"final_imbalance/{end['trajectory']}/eta_{end['learning_rate']:g}"] = end[
            "imbalance"
        ]
    for fit in frames["exponents"].to_dict("records"):
        name = f"{fit['quantity']}/{fit['axis']}"
        values[f"exponent/{name}"] = fit["exponent"]
        values[f"exponent_standard_error/{name}"] = fit["standard_error"]
    for row in frames["collapse"].to_dict("records"):
        name = f"{row['experiment']}/{row['clock']}"
        values[f"collapse_spread/{name}"] = row["spread"]
        values[f"collapse_residual_share/{name}"] = row["residual_share"]
    return values
