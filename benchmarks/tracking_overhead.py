"""What MLflow and checkpoints cost a sweep: the demo's fleets with and without them.

Run it with ``python -m benchmarks.tracking_overhead``. Both train the same fleets in this process
on one thread, alternating, so that a machine's other work disturbs them alike: `Fleet` alone, and a
`Session` which writes checkpoints and logs to a SQLite store. Two figures do not depend on what
else the machine does: how long training waits, and the processor time of the writer's thread, which
takes Python's lock, or a core that another worker would use. Their sum is the most that tracking
can cost. What measuring each layer against its initial weights costs is in both; its share of the
processor time of training alone stands beside them, and of what tracking costs the shares of
predictions on the test images (made, encoded and written to disk) and of uploading them together
with the best checkpoint.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import torch

from suite.data.splits import ImageData, load
from suite.declarations.config import RunConfig
from suite.declarations.experiment_files import apply
from suite.declarations.experiments import EXPERIMENTS
from suite.engine import returned_model
from suite.engine.fleet import Fleet
from suite.engine.kernel_record import KernelRecord
from suite.engine.runs import fusion_key
from suite.state import workspace
from suite.state.files import StateFiles
from suite.state.workspace import Workspace
from suite.tracking.runs import Tracker
from suite.worker.session import Session
from suite.worker.uploads import Uploads
from suite.worker.write_queue import Task, WriteQueue

CPU = torch.device("cpu")


@dataclass
class Costs:
    """Seconds of one way to train."""

    wall: float  # of training, until the last run has ended
    waited: float = 0.0  # of these, for checkpoints, results, and the writer's queue
    wall_written: float = 0.0  # until MLflow has everything
    writing: float = 0.0  # processor seconds of the writer's thread
    processor: float = 0.0  # seconds of training alone
    layers: float = 0.0  # of these, for measuring layers
    predictions: float = 0.0  # of wall, for making and writing predictions
    uploads: float = 0.0  # processor seconds of the writer's thread for best checkpoints


class Stopwatch:
    """Seconds that all calls of some methods or functions take, by a clock of Python's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.seconds = clock, 0.0

    def on(self, place: object, name: str) -> None:
        """Time what is called there by this name from now on."""
        function = getattr(place, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            start = self.clock()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += self.clock() - start

        setattr(place, name, timed)


LAYERS, PREDICTIONS = Stopwatch(time.process_time), Stopwatch(time.perf_counter)
UPLOADS = Stopwatch(time.thread_time)


def watch() -> None:
    """Time layers, predictions and uploads from now on, for all that trains."""
    LAYERS.on(KernelRecord, "_add")
    PREDICTIONS.on(returned_model, "predictions_of")
    PREDICTIONS.on(workspace, "encoded")
    PREDICTIONS.on(StateFiles, "write_bytes")  # of which predictions alone make use here
    UPLOADS.on(Tracker, "log_best")


class MeasuredQueue(WriteQueue):
    """A queue of writes that notes its thread's processor time."""

    processor_time = 0.0

    def _attempt(self, task: Task) -> bool:
        done = super()._attempt(task)
        self.processor_time = time.thread_time()
        return done


class MeasuredSession(Session):
    """A session that notes for how long training waits for it."""

    waited = 0.0

    def _secure(self, *arguments: object) -> None:
        start = time.perf_counter()
        super()._secure(*arguments)  # type: ignore[arg-type]
        self.waited += time.perf_counter() - start

    def _finish(self, *arguments: object) -> None:
        start = time.perf_counter()
        super()._finish(*arguments)  # type: ignore[arg-type]
        self.waited += time.perf_counter() - start


def fleets(epochs: int, size: int) -> list[list[RunConfig]]:
    """The demo's runs in fleets of at most `size`; 0 epochs are the demo's own."""
    groups: dict[object, list[RunConfig]] = {}
    demo = EXPERIMENTS["demo"]
    for config in (apply(demo, [f"epochs={epochs}"]) if epochs else demo).configs():
        groups.setdefault(fusion_key(config), []).append(config)
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def alone(configs: Sequence[RunConfig], data: ImageData) -> Costs:
    """Train a fleet and keep nothing."""
    LAYERS.seconds = 0.0
    start, processor = time.perf_counter(), time.process_time()
    for _ in Fleet(configs, data, CPU).epochs():
        pass
    return Costs(
        time.perf_counter() - start,
        processor=time.process_time() - processor,
        layers=LAYERS.seconds,
    )


def tracked(configs: Sequence[RunConfig], session: MeasuredSession, queue: MeasuredQueue) -> Costs:
    """Train a fleet with checkpoints and MLflow."""
    session.waited = PREDICTIONS.seconds = UPLOADS.seconds = 0.0
    before = queue.processor_time
    start = time.perf_counter()
    runs = [run for run in map(session.take, configs) if run]
    session.train(runs, on_epoch=lambda _outcome: None)
    wall = time.perf_counter() - start
    queue.drain(600)
    written = time.perf_counter() - start
    return Costs(
        wall,
        session.waited,
        written,
        queue.processor_time - before,
        predictions=PREDICTIONS.seconds,
        uploads=UPLOADS.seconds,
    )


def main() -> None:
    """Print shares and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=0, help="of each run (the demo's)")
    parser.add_argument("--fleets", type=int, default=3, help="how many of the demo's fleets")
    parser.add_argument("--fleet", type=int, default=15, help="runs at once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    watch()
    config = next(iter(EXPERIMENTS["demo"].configs()))
    data = load(
        config.dataset,
        None,
        validation_fraction=config.validation_fraction,
        train_fraction=config.train_fraction,
    )
    print(f"{len(data.train)} training images")
    ratios, pairs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracker = Tracker("demo", f"sqlite:///{folder / 'mlflow.db'}")
        place = Workspace(folder / "state", tracker.place)
        uploads = Uploads(tracker, place, "cpu", print)
        uploads.queue.close()
        uploads.queue = queue = MeasuredQueue(print)
        session = MeasuredSession(
            place, uploads, data, CPU, source="digits", checkpoints=True, notify=print
        )
        alone(fleets(2, options.fleet)[0], data)  # warm up
        for configs in fleets(options.epochs, options.fleet)[: options.fleets]:
            plain, kept = alone(configs, data), tracked(configs, session, queue)
            pairs.append((plain, kept))
            ratios.append(kept.wall / plain.wall)
            print(
                f"{configs[0].recipe_name:<14} {len(configs):>2} runs: alone {plain.wall:6.1f} s, "
                f"tracked {kept.wall:6.1f} s (ratio {ratios[-1]:.3f}), "
                f"waited {kept.waited / kept.wall:.1%}, "
                f"writer's processor time {kept.writing / kept.wall:.1%}, "
                f"MLflow complete after another {kept.wall_written - kept.wall:.1f} s, "
                f"layers {plain.layers / plain.processor:.2%} of the processor time alone, "
                f"predictions {kept.predictions / kept.wall:.2%}",
                flush=True,
            )
        uploads.close()
    wall = sum(kept.wall for _, kept in pairs)
    waited = sum(kept.waited for _, kept in pairs) / wall
    writing = sum(kept.writing for _, kept in pairs) / wall
    print(
        f"training waits {waited:.1%} of its time, the writer computes for {writing:.1%}: together "
        f"{waited + writing:.1%}; median ratio {statistics.median(ratios):.3f}; layers take "
        f"{sum(p.layers for p, _ in pairs) / sum(p.processor for p, _ in pairs):.2%}, predictions "
        f"{sum(kept.predictions for _, kept in pairs) / wall:.2%}, uploading them with the best "
        f"checkpoints {sum(kept.uploads for _, kept in pairs) / wall:.2%}"
    )


if __name__ == "__main__":
    main()
