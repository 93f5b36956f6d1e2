"""The sweep against a plain PyTorch script, Keras, and itself without fusion.

``python -m benchmarks.sweep_speed``: images per second of training, validation and tracking, on
digits with a ResNet-9 of width 8, in the launch-bound regime for which fleets are made. Each way
runs as a command of its own with all cores, in turn, for some rounds; ratios are the medians of
those within a round. `--keras` names a Python with Keras 3 and JAX (or set KERAS_PYTHON); without
it, Keras is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from suite.basics.mlflow_tables import metrics
from suite.data.splits import load

ROOT = Path(__file__).parents[1]
# What `benchmarks.plain_script` and `benchmarks.keras_script` train: all of digits at one rate.
SAME_WORK = {"width": 8, "train_fraction": 1, "learning_rate": 0.001}
CASES = [(size, rule) for size in (16, 32) for rule in ("sgd", "adam")]
SWEEP_EPOCHS, ALONE_EPOCHS = 14, 4
SIGMA_W = (0.1, 0.5, 1.0, 1.8, 2.5)
# Ten seeds of five scales: the 50 runs that the paper's main grid has for each recipe of Figure 4.
SEEDS = (0, 1, 42, 123, 456, 789, 999, 2024, 2025, 2026)


def command(arguments: list[str], folder: Path, **environment: str) -> str:
    """Run a command in a folder of its own; what it prints."""
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def plain(batch_size: int, optimizer: str, cores: int) -> float:
    """Images per second of `benchmarks.plain_script`."""
    with tempfile.TemporaryDirectory() as folder:
        asked = [sys.executable, "-m", "benchmarks.plain_script"]
        asked += ["--batch-size", str(batch_size), "--optimizer", optimizer]
        asked += ["--threads", str(cores), "--tracking-uri", f"sqlite:///{folder}/mlflow.db"]
        return float(command(asked, Path(folder)).split()[-1])


def sweep(batch_size: int, optimizer: str, fleet: str, epochs: int, runs: int) -> float:
    """Images per second of `suite.grid`, from the end of its first epoch to that of its last."""
    with tempfile.TemporaryDirectory() as folder:
        asked = [sys.executable, "-m", "suite.grid", "--experiment", "demo", "--fleet", fleet]
        seeds = SEEDS[: max(1, runs // len(SIGMA_W))]
        for name, value in {
            **SAME_WORK,
            "optimizer": optimizer,
            "batch_size": batch_size,
            "epochs": epochs,
            "sigma_w": ",".join(map(str, SIGMA_W[:runs])),
            "seed": ",".join(map(str, seeds)),
        }.items():
            asked += ["--set", f"{name}={value}"]
        command(asked, Path(folder), MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db")
        return _throughput(Path(folder) / "mlflow.db", runs, epochs)


def _throughput(database: Path, runs: int, epochs: int) -> float:
    """Images per second between the first and the last epoch that a store has."""
    query = f"SELECT {metrics.c.timestamp} FROM {metrics.name} WHERE {metrics.c.key} = ?"
    with sqlite3.connect(database) as store:
        ends = sorted(time for (time,) in store.execute(query, ["val_accuracy"]))
    if len(ends) != runs * epochs:
        # Another axis of the experiment would count work that the other ways do not do.
        raise SystemExit(f"{len(ends)} epochs were logged, {runs} runs of {epochs} were asked for")
    # A fleet's runs end their epochs together; what ended with the very first is not counted.
    counted = sum(time > ends[0] + 1 for time in ends)
    images = len(load("digits", None).train)
    return 1000 * counted * images / (ends[-1] - ends[0])


def keras(batch_size: int, optimizer: str, python: str) -> float:
    """Images per second of `benchmarks.keras_script` on JAX."""
    digits = load("digits", None)
    arrays = {}
    for prefix, part in (("", digits.train), ("val_", digits.validation)):
        arrays[f"{prefix}x"] = part.images.permute(0, 2, 3, 1).numpy().astype(np.float32) / 255
        arrays[f"{prefix}y"] = part.labels.numpy()
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/digits.npz", **arrays)
        asked = [python, str(ROOT / "benchmarks" / "keras_script.py")]
        asked += ["--data", f"{folder}/digits.npz", "--batch-size", str(batch_size)]
        asked += ["--optimizer", optimizer]
        return float(command(asked, Path(folder), KERAS_BACKEND="jax").split()[-1])


def ways(batch_size: int, optimizer: str, python: str, runs: int) -> dict[str, Callable[[], float]]:
    """Name to measurement, in images per second."""
    cores = len(os.sched_getaffinity(0))
    found = {
        "sweep": partial(sweep, batch_size, optimizer, "auto", SWEEP_EPOCHS, runs),
        "plain script": partial(plain, batch_size, optimizer, cores),
        "fleet of one": partial(sweep, batch_size, optimizer, "1", ALONE_EPOCHS, 5),
    }
    if python:
        found["Keras on JAX"] = partial(keras, batch_size, optimizer, python)
    return found


def main() -> None:
    """Print a table of speeds and ratios, and keep it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=50, help="of the sweep (50)")
    parser.add_argument("--keras", default=os.environ.get("KERAS_PYTHON", ""), metavar="PYTHON")
    parser.add_argument("--json", type=Path, help="also write what was measured to this file")
    arguments = parser.parse_args()
    results = []
    print(f"{'batch':>5} {'rule':<5} {'way':<13} {'images/s':>9} {'sweep is faster by':>20}")
    for batch_size, optimizer in CASES:
        measured = ways(batch_size, optimizer, arguments.keras, arguments.runs)
        speeds: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(arguments.rounds):
            for name, way in measured.items():
                speeds[name].append(way())
        for name, values in speeds.items():
            ratios = [s / v for s, v in zip(speeds["sweep"], values, strict=True)]
            print(
                f"{batch_size:>5} {optimizer:<5} {name:<13} {statistics.median(values):>9,.0f} "
                f"{statistics.median(ratios):>8.1f}× ({min(ratios):.1f} to {max(ratios):.1f})",
                flush=True,
            )
        results.append({"batch_size": batch_size, "optimizer": optimizer, "speeds": speeds})
    if not arguments.keras:
        print("Keras was left out: name a Python that has it with --keras or KERAS_PYTHON")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
