"""Fleets of vision transformers against timm's modules: ``python -m benchmarks.vit_fleet``.

R runs at once against R modules of the same sizes trained one after the other with torch's own
optimizers, on the same batches of digits. One thread; steps of the two take turns. Time is that of
the thread on its core, so that other programs of the machine count in neither but for the caches
they share; a ratio is the median over pairs.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from suite.data.splits import ImageData, load
from suite.declarations.config import RunConfig, parse
from suite.engine.device import set_threads
from suite.engine.fleet import Fleet

WARM_UP = 3
SIZES = ((16, 2), (32, 4))  # features and heads


def module_step(config: RunConfig, data: ImageData) -> Callable[[Tensor], None]:
    """A step of one of timm's modules on the images of an index."""
    model = VisionTransformer(
        img_size=(data.height, data.width),
        patch_size=config.patch_size,
        in_chans=data.channels,
        num_classes=data.num_classes,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        global_pool=config.global_pool,
        class_token=config.global_pool == "token",
    )
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config.optimizer]
    optimizer = rule(model.parameters(), lr=config.learning_rate)
    images = data.train.images.float() / 255

    def step(index: Tensor) -> None:
        loss = F.cross_entropy(model(images[index]), data.train.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def pairs(config: RunConfig, data: ImageData, runs: int, rounds: int) -> list[tuple[float, float]]:
    """Seconds of a step of all runs: the loop's and the fleet's, in each round."""
    fleet = Fleet([config.with_(seed=seed) for seed in range(runs)], data, torch.device("cpu"))
    step = module_step(config, data)
    stream = torch.Generator().manual_seed(0)
    found = []
    for _ in range(WARM_UP + rounds):
        orders = [torch.randperm(len(data.train), generator=stream) for _ in range(runs)]
        index = torch.stack([order[: config.batch_size] for order in orders], dim=1)
        start = time.thread_time()
        for run in range(runs):
            step(index[:, run])
        between = time.thread_time()
        fleet.advance(index, None, config.learning_rate)
        found.append((between - start, time.thread_time() - between))
    return found[WARM_UP:]


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="R, runs at once (10)")
    parser.add_argument("--rounds", type=int, default=30, help="pairs of steps (30)")
    parser.add_argument("--batch", default="16,64", help="batch sizes (16,64)")
    parser.add_argument("--patch", type=int, default=2, help="patches' side in pixels (2)")
    parser.add_argument("--pool", choices=("token", "avg"), default="token")
    arguments = parser.parse_args()
    set_threads(1)
    data = load("digits", None)
    side = arguments.patch
    print(f"digits, depth 2, patches of {side}×{side}, {arguments.pool}, {arguments.runs} runs")
    print(f"{'features':>8}{'batch':>7}  {'rule':<6}{'timm ms':>9}{'fleet ms':>10}{'ratio':>8}")
    batches = [int(size) for size in arguments.batch.split(",")]
    for (features, heads), batch, rule in itertools.product(SIZES, batches, ("sgd", "adam")):
        sizes = {"embed_dim": features, "num_heads": heads, "global_pool": arguments.pool}
        sizes |= {"patch_size": side}
        fixed = {"model": "vit", "semantics": "torch", "optimizer": rule, "batch_size": batch}
        found = pairs(parse(fixed | sizes), data, arguments.runs, arguments.rounds)
        timm, ours = (1e3 * statistics.median(one) for one in zip(*found, strict=True))
        ratio = statistics.median(theirs / own for theirs, own in found)
        print(f"{features:>8}{batch:>7}  {rule:<6}{timm:>9.1f}{ours:>10.1f}{ratio:>7.1f}×")


if __name__ == "__main__":
    main()
