"""The minimal linear model of forgetting: Figure 9, the clocks measured, and the orders fitted.

``python -m analysis.minimal_model`` trains the networks of Das et al. 2026, App. G, draws two
figures (PNG and SVG), writes a CSV of every curve and of every number read off them, and prints the
numbers. ``--track`` keeps them as an MLflow run beside the networks' runs.

What comes out is about linear networks and about orders in the learning rate. It says neither that
forgetting is monotone nor what a network with BatchNorm does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # the libraries are imported when there is something to compute
    from matplotlib.figure import Figure
    from pandas import DataFrame

DOTS_PER_INCH = 160


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with status 2 and one line on bad input."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.tracking_uri is not None and not chosen.track:
        parser.error(f"--tracking-uri: only with --track, got {chosen.tracking_uri!r}; add --track")
    folder: Path = chosen.out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as problem:
        parser.error(
            f"--out: a folder to write to, got {folder} ({problem.strerror}); name another"
        )
    if not chosen.track:
        produce(chosen.seed, folder)
        return
    from analysis.minimal_model import tracking

    try:
        with tracking.tracked_run(chosen.tracking_uri, chosen.seed) as run_id:
            tracking.log_results(*produce(chosen.seed, folder))
    except tracking.TrackingError as problem:
        parser.error(str(problem))
    print(f"tracked as MLflow run {run_id}")


def produce(seed: int, folder: Path) -> tuple[dict[str, DataFrame], list[Path]]:
    """Measure, write and print; returns the frames of `measure` and the files of `write`."""
    frames = measure(seed)
    files = write(frames, folder)
    print(summary(frames))
    print(f"\nwritten to {folder}: " + ", ".join(file.name for file in files))
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


def write(frames: dict[str, DataFrame], folder: Path) -> list[Path]:
    """Both figures as PNG and SVG, and each frame as CSV; returns the files' paths."""
    from analysis.minimal_model import figures

    drawn = {
        "figure9": figures.figure_9(frames["trajectories"], frames["final_states"]),
        "clocks": figures.clocks_figure(
            frames["clock_curves"], frames["collapse"], frames["exponents"]
        ),
    }
    files = [file for name, figure in drawn.items() for file in _save(figure, folder / name)]
    for name, frame in frames.items():
        files.append(folder / f"{name}.csv")
        frame.to_csv(files[-1], index=False, float_format="%.8g")
    return files


def _save(figure: Figure, stem: Path) -> list[Path]:
    import matplotlib as mpl

    from analysis.minimal_model.figures import STYLE

    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    with mpl.rc_context(STYLE):
        layout = figure.get_layout_engine()
        if layout is not None:  # laid out once, not again for each file: that is half of the time
            layout.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(files[0], dpi=DOTS_PER_INCH)
        figure.savefig(files[1], metadata={"Date": None})
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(message.removeprefix("argument "), file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m analysis.minimal_model", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("minimal_model"),
        metavar="DIR",
        help="folder for the figures and CSV files (default: ./minimal_model)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="seed of the minibatches and random networks (default: 0)",
    )
    parser.add_argument(
        "--track", action="store_true", help="log to MLflow, experiment minimal_model"
    )
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="where MLflow keeps it (default: MLflow's own default)",
    )
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number ≥ 0, got {text!r}; try --seed 0")
    return int(text)


if __name__ == "__main__":
    main()
