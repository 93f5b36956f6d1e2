"""What a sweep costs, and what theory predicts of it, before anything is spent."""

from __future__ import annotations

import io
import shlex
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from suite.basics.mlflow_client import default_uri
from suite.basics.waiting import with_progress
from suite.data.splits import ImageData, Split, split_sizes
from suite.declarations.config import RunConfig
from suite.declarations.datasets import KNOWN
from suite.declarations.forecast import forecast
from suite.declarations.metrics import EPOCH_METRIC_NAMES
from suite.engine.calibration import Calibrator
from suite.engine.device import set_threads, torch_device
from suite.engine.fleet import Fleet
from suite.engine.preparation import data_key, load_data
from suite.executors.processes import threads_of_one
from suite.sweep.display import duration
from suite.tracking.store import one_name

if TYPE_CHECKING:
    from suite.declarations.machine import Machine
    from suite.executors.processes import threads_of_one
from suite.sweep.sweep import Sweep

BYTES_PER_METRIC_ROW = 260  # measured in an MLflow SQLite store, indexes included
PROBE_STEPS, PROBE_SECONDS = 3, 1.0  # at least
TABLE_WIDTH = 160  # room for a recipe's whole name


@dataclass(frozen=True)
class Cost:
    """What one run of a recipe takes.

    Attributes
    ----------
    flops
        Of training and validation, all epochs.
    checkpoint_bytes, best_bytes
        Of the resumable state while it trains, and of the checkpoint that MLflow keeps.
    """

    flops: float
    checkpoint_bytes: int
    best_bytes: int


def report(sweep: Sweep) -> str:
    """The dry run of a sweep as text: points, cost, clocks and forecasts by recipe."""
    # As many as a worker has: speeds are measured, and were kept, for so many.
    set_threads(sweep.machine.threads or threads_of_one(sweep.workers))
    recipes: dict[str, RunConfig] = {}  # fingerprint to one of its runs
    for _, config in sweep.points:
        recipes.setdefault(config.recipe_fingerprint, config)
    data = _stand_ins(recipes, sweep.machine)
    everything = Counter(config.recipe_fingerprint for _, config in sweep.points)
    left = Counter(config.recipe_fingerprint for config in sweep.left)
    costs = _costs(recipes, data)
    print("measuring some steps of training …", file=sys.stderr, flush=True)
    flops_left = sum(costs[recipe].flops * left[recipe] for recipe in recipes)
    rate, how = _flop_rate(sweep, recipes, costs, data)
    lines = [
        f"{sweep.experiment.name}: {len(sweep.points):,} runs, "
        f"{len(sweep.points) - len(sweep.left):,} done, {len(sweep.left):,} to do",
        f"training FLOPs to do   {flops_left:.3g}",
        f"time                   about {duration(flops_left / rate)} {how}",
        f"disk, checkpoints      {decimal(_resumable(sweep, costs, left))} while training",
        f"disk, MLflow           {decimal(_kept(sweep, costs))} in the end "
        "(best checkpoints and metrics)",
        "",
        _table(recipes, everything, left, costs, data),
        "Clocks at the end of all epochs; expected by theory: memory goes once the clock of an "
        "acting mechanism reaches about 1 (suite/declarations/forecast.py).",
        seeds_question(
            sweep.tracker.experiment_name if len(sweep.left) < len(sweep.points) else "",
            sweep.tracker.uri,
        ),
    ]
    return "\n".join(lines)


def seeds_question(experiment: str, uri: str) -> str:
    """The command that says how many seeds an answer needs.

    It gives no number itself: what runs scatter by is for `analysis` to say, which reads them.

    Parameters
    ----------
    experiment
        Its name in MLflow, if it has finished runs; else empty.
    uri
        Its store, which is named where the command would not find it by itself.
    """
    words = ["python", "-m", "analysis.plan"]
    if experiment:
        words += ["--experiment", experiment]
        words += ["--tracking-uri", uri] if uri != one_name(default_uri()) else []
    return f"Are these seeds enough? {shlex.join(words)}"


def _stand_ins(recipes: dict[str, RunConfig], machine: Machine) -> dict[str, ImageData]:
    """For each recipe its data set, as `_stand_in` makes it; recipes on the same share one."""
    different: dict[object, ImageData] = {}
    found = {}
    for recipe, config in recipes.items():
        key = data_key(config)
        if key not in different:
            different[key] = _stand_in(config, machine)
        found[recipe] = different[key]
    return found


def _stand_in(config: RunConfig, machine: Machine) -> ImageData:
    """The data set's shape and sizes without its images, where they are known without reading."""
    facts = KNOWN.get(config.dataset)
    if facts is None:
        return load_data(config, machine)[0]
    height, width = (config.image_side or side for side in (facts.height, facts.width))
    train, validation = split_sizes(
        facts.training_part, config.validation_fraction, config.train_fraction
    )

    def split(images: int) -> Split:
        stream = torch.Generator().manual_seed(0)
        # One random image seen many times: no memory for a data set that is only counted.
        image = torch.randint(
            256, (1, facts.channels, height, width), generator=stream, dtype=torch.uint8
        )
        labels = torch.arange(images) % facts.classes
        return Split(image.expand(images, -1, -1, -1), labels)

    names = tuple(str(number) for number in range(facts.classes))
    parts = split(train), split(validation), split(1)
    return ImageData(config.dataset, names, *parts, digest="")


def cost(config: RunConfig, data: ImageData) -> Cost:
    """FLOPs and bytes of one run, counted on the network itself."""
    plain = config.with_(batch_size=2, augmentation="none", precision="fp32")
    fleet = Fleet([plain], _slice(data, 2), torch.device("cpu"))
    inputs = fleet.step.inputs(torch.arange(2).unsqueeze(1), None)
    views = fleet.layout.views(fleet.theta)
    with FlopCounterMode(display=False) as forward:
        fleet.network.logits(views, fleet.buffers, inputs, training=False)
    per_image = forward.get_total_flops() / 2
    # The backward pass takes two products where the forward pass takes one.
    images_seen = 3 * len(data.train) + len(data.validation)
    size = fleet.theta.numel() * fleet.theta.element_size()
    moments = sum(m.numel() * m.element_size() for m in fleet.optimizer.moments.values())
    return Cost(config.epochs * images_seen * per_image, 2 * size + moments, size)


def _costs(recipes: dict[str, RunConfig], data: dict[str, ImageData]) -> dict[str, Cost]:
    """The cost of each recipe, counted once for those that differ in rates, batch size or start."""
    initial = {name: RunConfig.default(name) for name in RunConfig.initials()}
    same = {"batch_size": 2, "learning_rate": 1e-3, "kernel_l2": 0.0, "seed": 0, **initial}
    counted: dict[object, Cost] = {}
    found = {}
    for recipe, config in with_progress(
        recipes.items(), len(recipes), "counting the recipes' FLOPs"
    ):
        key = config.with_(**same, augmentation="none").fingerprint
        if key not in counted:
            counted[key] = cost(config, data[recipe])
        found[recipe] = counted[key]
    return found


def _slice(data: ImageData, images: int) -> ImageData:
    part = Split(data.train.images[:images], data.train.labels[:images])
    return ImageData(data.name, data.classes, part, part, part, digest=data.digest)


def _flop_rate(
    sweep: Sweep, recipes: dict[str, RunConfig], costs: dict[str, Cost], data: dict[str, ImageData]
) -> tuple[float, str]:
    """FLOPs per second of all workers together, and how they are known."""
    device = torch_device(sweep.machine.device)
    known = {
        recipe: Calibrator(data[recipe], device, sweep.workers, lambda _line: None).known(config)
        for recipe, config in recipes.items()
    }
    rates = [
        found.best.images_per_second * costs[recipe].flops / _images(recipes[recipe], data[recipe])
        for recipe, found in known.items()
        if found
    ]
    if rates:
        rate = sweep.workers * sum(rates) / len(rates)
        return rate, f"(from {len(rates)} of {len(recipes)} recipes measured on this machine)"
    config = min(recipes.values(), key=lambda config: config.batch_size)
    images = data[config.recipe_fingerprint]
    fleet = Fleet([config], _slice(images, config.batch_size), device)
    # The first step warms up. Few steps of a millisecond may all fall to another process's turn.
    steps = fleet.measure(1 + PROBE_STEPS, PROBE_SECONDS)[1:]
    seconds = statistics.median(steps) / sweep.workers
    speed = config.batch_size / seconds * costs[config.recipe_fingerprint].flops
    speed /= _images(config, images)
    how = f"{len(steps)} steps of {config.recipe_name} alone; fleets are often faster"
    return speed, f"(from {how})"


def _images(config: RunConfig, data: ImageData) -> float:
    return float(config.epochs * len(data.train))


def _resumable(sweep: Sweep, costs: dict[str, Cost], left: Counter[str]) -> int:
    at_once = sweep.workers * (sweep.fleet or 50)
    largest = max((costs[recipe].checkpoint_bytes for recipe in left), default=0)
    return largest * min(at_once, sum(left.values()))


def _kept(sweep: Sweep, costs: dict[str, Cost]) -> int:
    total = 0
    for _, config in sweep.points:
        rows = config.epochs * len(EPOCH_METRIC_NAMES)
        total += rows * BYTES_PER_METRIC_ROW + costs[config.recipe_fingerprint].best_bytes
    return total


def _table(
    recipes: dict[str, RunConfig],
    everything: Counter[str],
    left: Counter[str],
    costs: dict[str, Cost],
    data: dict[str, ImageData],
) -> str:
    table = Table(box=None, pad_edge=False)
    for title in ("recipe", "runs", "left", "FLOPs/run", "T_SGD", "T_L2", "T_adapt", "expected"):
        table.add_column(
            title, justify="left" if title in ("recipe", "expected") else "right", no_wrap=True
        )
    for recipe, config in recipes.items():
        seen = forecast(config, len(data[recipe].train))
        numbers = [seen.clock_sgd, seen.clock_l2, seen.clock_adapt]
        table.add_row(
            config.recipe_name,
            f"{everything[recipe]:,}",
            f"{left[recipe]:,}",
            f"{costs[recipe].flops:.2g}",
            *(f"{number:.3g}" for number in numbers),
            seen.word,
        )
    text = io.StringIO()
    Console(file=text, width=TABLE_WIDTH).print(table)
    return text.getvalue()
