"""What else might make training faster on a CPU: ``python -m benchmarks.cpu_variants``.

Each variant trains the same ResNet-9 on random images in a process of its own, for so many seconds
after its first steps; variants take turns, round by round, and each is compared with the plain
loop of its round. `two workers` are two processes with half the threads each, as `suite.grid` runs
them. Without validation, checkpoints or tracking.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain_loop import random_images
from benchmarks.stock_resnet9 import StockResNet9
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig, parse
from suite.engine.device import set_threads
from suite.engine.fleet import Fleet

WARM_UP_STEPS = 3
COMPILE_LIMIT = 600.0  # seconds that a process may take beside its measurement


def stock(
    config: RunConfig,
    data: ImageData,
    *,
    channels_last: bool = False,
    bf16: bool = False,
    compiled: bool = False,
) -> Callable[[], None]:
    """A step of stock modules: channels-last, under bf16 autocast, compiled, or none of these."""
    torch.manual_seed(config.seed)
    model = StockResNet9(data.channels, config.channels, data.num_classes)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=memory)
    forward: Callable[[Tensor], Tensor] = torch.compile(model) if compiled else model
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config.optimizer]
    optimizer = rule(model.parameters(), lr=config.learning_rate)
    images = (data.train.images.float() / 255).contiguous(memory_format=memory)

    def step() -> None:
        index = torch.randint(len(images), (config.batch_size,))
        context: AbstractContextManager[object] = (
            torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
        )
        with context:
            scores = forward(images[index].contiguous(memory_format=memory))
        loss = F.cross_entropy(scores.float(), data.train.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def suite_step(config: RunConfig, data: ImageData, *, bf16: bool = False) -> Callable[[], None]:
    """A step of a fleet of one."""
    if bf16:
        config = config.with_(precision="bf16")
    fleet = Fleet([config], data, torch.device("cpu"))

    def step() -> None:
        fleet.measure(1)

    return step


VARIANTS: dict[str, tuple[int, Callable[[RunConfig, ImageData], Callable[[], None]]]] = {
    "plain": (1, stock),
    "plain, channels-last": (1, lambda c, d: stock(c, d, channels_last=True)),
    "plain, bf16 autocast": (1, lambda c, d: stock(c, d, bf16=True)),
    "plain, torch.compile": (1, lambda c, d: stock(c, d, compiled=True)),
    "suite": (1, suite_step),
    "suite, bf16": (1, lambda c, d: suite_step(c, d, bf16=True)),
    "suite, two workers": (2, suite_step),
}


def speed(name: str, config: RunConfig, side: int, seconds: float) -> float:
    """Images per second of one process."""
    step = VARIANTS[name][1](config, random_images(side))
    for _ in range(WARM_UP_STEPS):
        step()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    return steps * config.batch_size / (time.perf_counter() - start)


def in_processes(name: str, threads: int, words: Sequence[str]) -> float:
    """Images per second of a variant's processes together."""
    count = VARIANTS[name][0]
    command = [sys.executable, "-m", "benchmarks.cpu_variants", "--one", name, *words]
    command += ["--threads", str(max(1, threads // count))]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    total = 0.0
    for child in children:
        out, _ = child.communicate(timeout=COMPILE_LIMIT)
        if child.returncode:
            sys.exit(f"{name} ended with status {child.returncode}")
        total += float(out.splitlines()[-1])
    return total


def main() -> None:
    """Print a table, or one variant's speed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=32, help="of the images (32)")
    parser.add_argument("--width", type=int, default=16, help="of the ResNet-9 (16)")
    parser.add_argument("--batch", type=int, default=128, help="batch size (128)")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (8)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--threads", type=int, default=0, help="of all processes; 0 is all cores")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_threads(options.threads)
    settings = {"optimizer": options.optimizer, "batch_size": options.batch}
    config = parse({**settings, "width": options.width, "semantics": "torch"})
    if options.one:
        print(speed(options.one, config, options.side, options.seconds))
        return
    threads = torch.get_num_threads()
    words = [
        word
        for name in ("side", "width", "batch", "optimizer", "seconds")
        for word in (f"--{name}", str(getattr(options, name)))
    ]
    rounds = [
        {name: in_processes(name, threads, words) for name in VARIANTS}
        for _ in range(options.rounds)
    ]
    print(
        f"{options.side}×{options.side}×3, ResNet-9 width {options.width}, batch {options.batch}, "
        f"{options.optimizer}, {threads} threads, torch {torch.__version__}"
    )
    for name in VARIANTS:
        ratios = sorted(one[name] / one["plain"] for one in rounds)
        print(
            f"{name:<22}{statistics.median(one[name] for one in rounds):>10,.0f} images/s"
            f"{statistics.median(ratios):>8.2f}× ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
