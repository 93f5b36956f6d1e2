"""What one trial costs on the Optuna scoreboard, by size of the grid.

Run it with ``python -m benchmarks.scoreboard``. Optuna's own optimize loop with GridSampler
rescans all trials after each one, so that its cost per trial grows with the grid; the suite's does
not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from suite.declarations.experiment_files import changed
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import EpochRecord
from suite.declarations.results import RunResult
from suite.sweep.study import Scoreboard

SIZES = (100, 1000, 6250)
EPOCHS = 300
LAST = 100  # trials over which the cost at the full size is averaged


def grid(size: int) -> Experiment:
    """An experiment of `size` points."""
    experiment = EXPERIMENTS["main"]
    for name, values in (("optimizer", ("sgd",)), ("batch_size", (128,))):
        experiment = changed(experiment, name, values)
    return changed(experiment, "seed", range(size // len(experiment.axes["sigma_w"])))


def milliseconds(experiment: Experiment, storage: str) -> tuple[float, float]:
    """Cost of one trial, averaged over all trials of a grid and over its last ones."""
    board = Scoreboard(experiment, storage)
    history = [EpochRecord(epoch, epoch, 1.0, 0.5, 1.0, 0.5, 1.0, 1e-3) for epoch in range(EPOCHS)]
    summary = {"test_accuracy": 0.5, "best_epoch": 100.0, "kernel_norm_best": 3.0}
    seconds = []
    for index, point in enumerate(experiment.points()):
        result = RunResult(experiment.config(point), history, summary, diverged=False)
        start = time.perf_counter()
        board.add([(point, f"{index:032x}", result)])
        seconds.append(time.perf_counter() - start)
    last = seconds[-LAST:]
    return 1000 * sum(seconds) / len(seconds), 1000 * sum(last) / len(last)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="POINTS")
    sizes = parser.parse_args().sizes
    print(f"{'points':>7} {'storage':>8} {'ms a trial':>11} {'last ' + str(LAST):>9}")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            experiment = grid(size)
            file = Path(folder) / f"{size}.db"
            for name, storage in (("memory", ""), ("SQLite", f"sqlite:///{file}")):
                mean, last = milliseconds(experiment, storage)
                print(f"{experiment.size:>7,} {name:>8} {mean:>11.2f} {last:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
