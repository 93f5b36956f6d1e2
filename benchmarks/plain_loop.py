"""A single run against a hand-written PyTorch loop: ``python -m benchmarks.plain_loop``.

Both train a ResNet-9 on the same tensors in memory, with the same batch order, the same rule and a
validation pass each epoch; the plain loop has no DataLoader, no tracking and no checkpoints. Epochs
of the two alternate, so that a machine whose speed drifts does not favour either. With `--side` the
images are random and larger, where arithmetic and not launching dominates; there the table also has
the speed of fused fleets, which should not pay.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from benchmarks.stock_resnet9 import StockResNet9
from suite.basics.randomness import batch_order
from suite.data.splits import ImageData, Split, load
from suite.declarations.config import RunConfig, parse
from suite.engine.device import set_threads
from suite.engine.fleet import Fleet


def plain_epochs(config: RunConfig, data: ImageData) -> Iterator[float]:
    """Train one epoch for each value drawn."""
    model = StockResNet9(data.channels, config.channels, data.num_classes)
    rules: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
    }
    optimizer = rules[config.optimizer](model.parameters(), lr=config.learning_rate)
    train = data.train.images.float() / 255
    validation = data.validation.images.float() / 255
    for epoch in range(1, config.epochs + 1):
        model.train()
        order = batch_order(config.seed, epoch, len(train))
        for index in order.split(config.batch_size):
            loss = F.cross_entropy(model(train[index]), data.train.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores = model(validation)
        yield (scores.argmax(1) == data.validation.labels).float().mean().item()


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="counted epochs of each (15)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 is all cores")
    parser.add_argument("--side", type=int, default=0, help="of random images; 0 takes digits (0)")
    parser.add_argument("--width", type=int, default=8, help="of the ResNet-9 (8)")
    parser.add_argument("--batch", default="16,64", help="batch sizes (16,64)")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    data = random_images(arguments.side) if arguments.side else load("digits", None)
    about = f"{arguments.side}×{arguments.side}×3 images" if arguments.side else "digits"
    threads = torch.get_num_threads()
    print(
        f"{about}, ResNet-9 width {arguments.width}, {threads} threads, torch {torch.__version__}"
    )
    print(f"{'rule':<6}{'batch':>6}{'plain images/s':>17}{'suite images/s':>17}{'ratio':>8}")
    for optimizer in ("sgd", "adam"):
        for batch_size in map(int, arguments.batch.split(",")):
            config = parse(
                {
                    "optimizer": optimizer,
                    "batch_size": batch_size,
                    "epochs": arguments.epochs + 2,
                    "semantics": "torch",
                    "width": arguments.width,
                }
            )
            plain, ours = _pairs(config, data)
            ratio = statistics.median(p / o for p, o in zip(plain, ours, strict=True))
            images = len(data.train)
            speeds = [images / statistics.median(seconds) for seconds in (plain, ours)]
            print(
                f"{optimizer:<6}{batch_size:>6}{speeds[0]:>17,.0f}{speeds[1]:>17,.0f}{ratio:>8.2f}"
            )
            if arguments.side:
                fused = ", ".join(
                    f"{runs}: {_fused(config, data, runs):,.0f}" for runs in (1, 2, 4)
                )
                print(f"      images/s by fleet size: {fused}")


def random_images(side: int) -> ImageData:
    """A data set of noise, 512 images to train and 128 to validate on."""
    stream = torch.Generator().manual_seed(0)

    def split(images: int) -> Split:
        shape = (images, 3, side, side)
        return Split(
            torch.randint(256, shape, generator=stream, dtype=torch.uint8),
            torch.arange(images) % 10,
        )

    names = tuple(str(label) for label in range(10))
    return ImageData("random", names, split(512), split(128), split(128), digest="")


def _fused(config: RunConfig, data: ImageData, runs: int) -> float:
    """Images per second of a fleet, training alone."""
    configs = [config.with_(seed=seed) for seed in range(runs)]
    seconds = Fleet(configs, data, torch.device("cpu")).measure(8)[3:]
    return runs * config.batch_size / statistics.median(seconds)


def _pairs(config: RunConfig, data: ImageData) -> tuple[list[float], list[float]]:
    """Seconds of each epoch, the plain loop's and ours in turn; two epochs of warm-up."""
    runs = plain_epochs(config, data), Fleet([config], data, torch.device("cpu")).epochs()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(config.epochs):
        for run, taken in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            next(run)
            taken.append(time.perf_counter() - start)
    return seconds[0][2:], seconds[1][2:]


if __name__ == "__main__":
    main()
