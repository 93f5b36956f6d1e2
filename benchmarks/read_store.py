"""How long the analysis takes to read a store, and how much memory.

    python -m benchmarks.read_store --experiment main --seeds 1

writes a synthetic store (6,250 runs of 300 epochs without --seeds: some minutes and 3 GB), and
loads it with an empty cache, with a full one, and after 10 new runs, each in a fresh process. The
same through MLflow's `get_metric_history`, run by run, is extrapolated from a few runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.synthetic_store import reduced, write
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import EPOCH_METRIC_NAMES

NEW_RUNS = 10
NEW_SEED = 4711  # in none of the experiments
KILOBYTES_PER_GIGABYTE = 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a store if need be, and print what reading it takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", choices=sorted(EXPERIMENTS), default="main")
    parser.add_argument("--epochs", type=int, default=0, help="0: as in the experiment")
    parser.add_argument("--seeds", type=int, default=0, help="use only so many; 0: all")
    parser.add_argument("--extra-metrics", type=int, default=0, help="besides the suite's own")
    parser.add_argument("--sample", type=int, default=20, help="runs read by get_metric_history")
    parser.add_argument(
        "--store", type=Path, help="use this file; it is written if it is not there"
    )
    options = parser.parse_args(arguments)
    experiment = reduced(
        EXPERIMENTS[options.experiment], epochs=options.epochs, seeds=options.seeds
    )
    with tempfile.TemporaryDirectory() as folder:
        path = options.store or Path(folder) / "store.db"
        uri = f"sqlite:///{path.resolve()}"
        if not path.exists():
            write(
                uri,
                experiment.configs(),
                experiment=experiment.name,
                extra_metrics=options.extra_metrics,
            )
        measure(uri, experiment, Path(folder) / "cache", options.sample)


def measure(uri: str, experiment: Experiment, cache: Path, sample: int) -> None:
    """Print one line for each way to read the store."""
    cold = load_in_fresh_process(uri, experiment.name, cache)
    print(
        f"{cold['runs']:,} runs, {cold['epochs']:,} epochs, {len(EPOCH_METRIC_NAMES)} metrics each"
    )
    report("with an empty cache", cold)
    report("with a full cache", load_in_fresh_process(uri, experiment.name, cache))
    first = experiment.config(next(iter(experiment.points())))
    new = [first.with_(seed=NEW_SEED + number) for number in range(NEW_RUNS)]
    write(uri, new, experiment=experiment.name)
    report(f"after {NEW_RUNS} new runs", load_in_fresh_process(uri, experiment.name, cache))
    by_run = seconds_by_run(uri, cold["run_ids"][:: max(1, len(cold["run_ids"]) // sample)])
    whole = by_run * cold["runs"]
    print(
        f"get_metric_history run by run: {by_run:.2f} s a run, so {whole:,.0f} s for all "
        f"(extrapolated from {sample} runs): {whole / cold['seconds']:,.0f} times as long"
    )


def report(label: str, measured: dict[str, Any]) -> None:
    """Print the time and memory of one way."""
    print(
        f"{label}: {measured['seconds']:.1f} s, {measured['processor_seconds']:.1f} s of "
        f"processor time, at most {measured['gigabytes']:.1f} GB"
    )


def load_in_fresh_process(uri: str, experiment: str, cache: Path) -> dict[str, Any]:
    """What :func:`load_here` measures, uninfluenced by what this process has loaded."""
    program = f"from benchmarks import read_store; read_store.load_here({uri!r}, {experiment!r})"
    environment = os.environ | {"SUITE_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, env=environment
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def load_here(uri: str, experiment: str) -> None:
    """Load the store and print as JSON what it took, imports included.

    Memory is the peak of this process plus, at worst, that of all its readers at once.
    """
    start = time.perf_counter()
    from analysis.store.frames import load

    store = load(experiment, uri)
    seconds = time.perf_counter() - start
    own, readers = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    count = min(os.cpu_count() or 1, len(EPOCH_METRIC_NAMES))
    measured = {
        "seconds": seconds,
        "processor_seconds": own.ru_utime + own.ru_stime + readers.ru_utime + readers.ru_stime,
        "gigabytes": (own.ru_maxrss + count * readers.ru_maxrss) / KILOBYTES_PER_GIGABYTE,
        "runs": len(store.runs),
        "epochs": len(store.history),
        "run_ids": store.runs["run_id"].tolist(),
    }
    print(json.dumps(measured))


def seconds_by_run(uri: str, run_ids: Sequence[str]) -> float:
    """Seconds that MLflow's own way takes for one run's epoch metrics."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    client.get_metric_history(run_ids[0], EPOCH_METRIC_NAMES[0])  # opens the store
    start = time.perf_counter()
    for run_id in run_ids:
        for name in EPOCH_METRIC_NAMES:
            client.get_metric_history(run_id, name)
    return (time.perf_counter() - start) / len(run_ids)


if __name__ == "__main__":
    main()
