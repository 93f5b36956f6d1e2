"""What a training step costs on a GPU: ``python benchmarks/gpu.py``.

Needs this folder, torch and NumPy; nothing of it has to be installed. First every way to train R
ResNet-9 at once is held to stock modules in float64; the program ends with status 1 if one is not
theirs. Then each is timed at several batch sizes and numbers of runs. `--device cpu --quick` is a
trial on a machine without a GPU, which leaves out what needs one.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

if not __package__:  # run as a file, on a machine where nothing is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_check import check, failed
from benchmarks.gpu_steps import WAYS, Unavailable, Way
from benchmarks.gpu_task import CHANNELS, CLASSES, Images, Run
from suite.engine.device_memory import release_memory
from suite.engine.evaluation import set_precision

# The main grid: Das et al. 2026, App. A.
GRID_RUNS, GRID_EPOCHS = 1250, 300  # runs of each batch size
GRID_BATCHES = (16, 32, 64, 128, 256)
GRID_TRAIN, GRID_VALIDATION = 40_000, 10_000
GRID_WIDTH, GRID_SIDE = 64, 32
FLOOR_RATE = 790e12  # FLOP/s of one GPU in bf16, as assumed for the floor

# 33 and 49 fill 132 multiprocessors with 8 tiles a run better than 25 and 50.
RUNS = (1, 5, 10, 25, 33, 49, 50)
WARM_UPS, CHUNKS = 3, 7
CHECK_WIDTH = 8


@dataclass(frozen=True)
class Cell:
    """One measurement, or the reason why there is none.

    Attributes
    ----------
    milliseconds
        Of a step of all runs, median over some stretches of time.
    gib
        Peak of the GPU memory that was reserved; 0 on a CPU.
    """

    batch_size: int
    runs: int
    way: str
    milliseconds: float = 0.0
    gib: float = 0.0
    reason: str = ""


def forward_flops(width: int, side: int) -> int:
    """FLOPs of a forward pass of one image through ResNet-9: two for each multiply and add."""
    w, pixels = width, side**2
    products = pixels * (CHANNELS * w + 2 * w**2) * 9  # conv1, conv2
    products += pixels // 4 * (4 * w**2 + 4 * w**2 + 8 * w**2) * 9  # res1a, res1b, conv3
    products += pixels // 16 * (32 * w**2) * 9  # conv4
    products += pixels // 64 * (64 * w**2 + 64 * w**2) * 9  # res2a, res2b
    return 2 * (products + 8 * w * CLASSES)


def measure(options: argparse.Namespace, device: torch.device) -> list[Cell]:
    """Time every way at every batch size and number of runs; a line on standard error for each."""
    side = 16 if options.quick else GRID_SIDE
    data = Images.random(options.images, side, device)
    cells = []
    for batch_size in options.batch:
        for runs in options.runs:
            for name in options.ways:
                if name == "plain" and runs > 1:
                    continue  # one after the other: R times the one run
                cell = _cell(name, batch_size, runs, data, options)
                cells.append(cell)
                said = cell.reason or f"{cell.milliseconds:.3f} ms"
                print(f"b={batch_size} R={runs} {name}: {said}", file=sys.stderr, flush=True)
    return cells


def _cell(name: str, batch_size: int, runs: int, data: Images, options: argparse.Namespace) -> Cell:
    cell = Cell(batch_size, runs, name)
    device = data.images.device
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what other ways keep is not this one's peak
        torch.cuda.reset_peak_memory_stats(device)
    try:
        run = Run(options.precision, options.optimizer, options.width)
        set_precision(run)  # type: ignore[arg-type]
        if name == "plain":
            torch.backends.cudnn.deterministic = False  # as torch has it by itself
            torch.backends.cudnn.benchmark = True  # as people have it who want speed
        seconds = _seconds(WAYS[name]([run] * runs, data), batch_size, runs, data, options.seconds)
        gib = torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else 0.0
        return replace(cell, milliseconds=1e3 * seconds, gib=gib)
    except Unavailable as reason:
        cell = replace(cell, reason=f"skipped: {reason}")
    except torch.OutOfMemoryError as error:
        release_memory(error)
        cell = replace(cell, reason="skipped: out of memory")
    except Exception as error:  # the other cells are worth having all the same
        release_memory(error)
        cell = replace(cell, reason=failed(name, error))
    return cell


def _seconds(way: Way, batch_size: int, runs: int, data: Images, seconds: float) -> float:
    device = data.images.device
    stream = torch.Generator().manual_seed(2)
    shape = (16, batch_size, runs)
    batches = torch.randint(len(data.labels), shape, generator=stream).to(device).unbind()

    def steps(count: int) -> float:
        _wait(device)
        start = time.perf_counter()
        for number in range(count):
            way.step(batches[number % len(batches)], 1e-3)
        _wait(device)
        return (time.perf_counter() - start) / count

    steps(WARM_UPS)
    count = max(1, round(seconds / CHUNKS / steps(WARM_UPS)))
    return statistics.median(steps(count) for _ in range(CHUNKS))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def grid_hours(cell: Cell) -> float:
    """Hours of the main grid's runs of one batch size, training steps only."""
    steps = GRID_RUNS / cell.runs * GRID_EPOCHS * -(-GRID_TRAIN // cell.batch_size)
    return steps * cell.milliseconds / 3.6e6


def table(cells: Sequence[Cell], width: int, side: int) -> str:
    """Times, speeds, and what the main grid would take."""
    flops = 3 * forward_flops(width, side)  # the backward pass is two products for one
    plain = {c.batch_size: c.milliseconds for c in cells if c.way == "plain" and not c.reason}
    lines = [
        f"{'batch':>5}{'runs':>5}  {'way':<14}{'ms/step':>10}{'images/s':>12}{'TFLOP/s':>9}"
        f"{'× plain':>9}{'GiB':>7}{'grid h':>9}"
    ]
    for cell in cells:
        line = f"{cell.batch_size:>5}{cell.runs:>5}  {cell.way:<14}"
        if cell.reason:
            lines.append(f"{line}{cell.reason}")
            continue
        speed = 1e3 * cell.batch_size * cell.runs / cell.milliseconds
        before = plain.get(cell.batch_size)
        ratio = f"{before * cell.runs / cell.milliseconds:.2f}" if before else "-"
        gib = f"{cell.gib:.1f}" if cell.gib else "-"
        lines.append(
            f"{line}{cell.milliseconds:>10.3f}{speed:>12,.0f}{speed * flops / 1e12:>9.3f}"
            f"{ratio:>9}{gib:>7}{grid_hours(cell):>9.1f}"
        )
    return "\n".join([*lines, *_totals(cells)])


def _totals(cells: Sequence[Cell]) -> list[str]:
    """Hours of the whole main grid, in stock modules and the fastest way for each batch size."""
    by_batch: dict[int, list[Cell]] = {}
    for cell in cells:
        if not cell.reason:
            by_batch.setdefault(cell.batch_size, []).append(cell)
    lines = [""]
    best, plain = 0.0, 0.0
    for batch_size, measured in by_batch.items():
        fastest = min(measured, key=grid_hours)
        own = [grid_hours(cell) for cell in measured if cell.way == "plain"]
        if batch_size in GRID_BATCHES:
            best += grid_hours(fastest)
            plain += own[0] if own else math.nan
        lines.append(
            f"b={batch_size}: {grid_hours(fastest):.1f} h as {fastest.way} of {fastest.runs}"
            + (f", {own[0]:.1f} h in stock modules" if own else "")
        )
    missing = [str(b) for b in GRID_BATCHES if b not in by_batch]
    part = f" without b={', '.join(missing)}" if missing else ""
    if best:
        stock = f", {plain:.1f} h in stock modules, one run after the other" if plain > 0 else ""
        lines.append(f"main grid{part}: {best:.1f} h{stock}")
    images = len(GRID_BATCHES) * GRID_RUNS * GRID_EPOCHS
    total = images * (3 * GRID_TRAIN + GRID_VALIDATION) * forward_flops(GRID_WIDTH, GRID_SIDE)
    lines.append(
        f"floor: {total / 1e18:.0f} EFLOP of the whole grid, validation included, "
        f"at {FLOOR_RATE / 1e12:.0f} TFLOP/s bf16: {total / FLOOR_RATE / 3600:.0f} h"
    )
    lines.append(
        f"grid h: {GRID_RUNS:,} runs of this batch size, ⌈{GRID_TRAIN:,}/b⌉ steps × {GRID_EPOCHS} "
        "epochs, extrapolated from the steps timed here; validation not included"
    )
    return lines


def _filled(cell: Cell) -> dict[str, object]:
    """A cell's fields that hold something: no time where none was measured."""
    return {name: value for name, value in asdict(cell).items() if value}


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError
    return numbers


def _ways(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= WAYS.keys():
        raise ValueError
    return names


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="where to train (cuda)")
    numbers = functools.partial(parser.add_argument, type=_numbers, metavar="N,…")
    numbers("--batch", default=list(GRID_BATCHES), help="batch sizes")
    numbers("--runs", default=list(RUNS), help="numbers of runs at once")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="bf16")
    parser.add_argument("--optimizer", choices=("sgd", "momentum", "adam"), default="sgd")
    parser.add_argument("--width", type=int, default=GRID_WIDTH, help="channels of ResNet-9 (64)")
    parser.add_argument("--images", type=int, default=10_000, help="training images (10,000)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing for each cell (2)")
    parser.add_argument(
        "--ways",
        type=_ways,
        default=[name for name in WAYS if not name.startswith("compile")],
        metavar="WAY,…",
        help=f"of {', '.join(WAYS)} (all but torch.compile, which takes many minutes)",
    )
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    parser.add_argument("--quick", action="store_true", help="a trial: tiny, no torch.compile")
    options = parser.parse_args(arguments)
    if options.quick:
        options.batch, options.runs, options.width = [8], [1, 2], 4
        options.images, options.seconds = 64, 0.05
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device: this machine has no CUDA device; use --device cpu --quick to try")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, measure, print."""
    options = parse(arguments)
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else "CPU"
    side = 16 if options.quick else GRID_SIDE
    what = (
        f"ResNet-9 width {options.width}, {side}×{side}, {options.precision}, {options.optimizer}"
    )
    print(f"{name}, torch {torch.__version__}, {what}\n")
    optimizers = ["adam", options.optimizer] if options.quick else ["momentum", "adam"]
    precisions = ["fp64", "fp32", options.precision]
    noise = Images.random(64, side, device)
    width = min(options.width, CHECK_WIDTH)
    if not check(options.ways, [*optimizers, options.optimizer], precisions, width, noise):
        sys.exit("some ways do not train as stock modules do: nothing was timed")
    cells = measure(options, device)
    print(f"\n{table(cells, options.width, side)}")
    if options.json:
        about = {"device": name, "torch": torch.__version__, "precision": options.precision}
        about |= {"width": options.width, "side": side, "optimizer": options.optimizer}
        content = {"about": about, "cells": [_filled(cell) for cell in cells]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    if any(cell.reason.startswith("failed") for cell in cells):
        sys.exit(1)


if __name__ == "__main__":
    main()
