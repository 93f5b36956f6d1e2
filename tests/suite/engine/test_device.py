"""How many threads a run gets that trains alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_helpers import assert_same_run, small_digits, small_run, train_alone

from benchmarks.plain_loop import random_images
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig, parse
from suite.engine.device import threads_for, work_of_a_layer
from suite.engine.runs import TrainedRun


@pytest.mark.parametrize(
    ("side", "settings", "threads"),
    [
        (8, {"width": 8, "batch_size": 64}, 1),  # the demo
        (8, {"width": 8, "batch_size": 256}, 1),
        (32, {"width": 16, "batch_size": 128}, 0),
        (32, {"width": 0, "batch_size": 16}, 0),  # the paper's smallest step
        (32, {"model": "resnet56", "width": 0, "batch_size": 16}, 0),
        (8, {"model": "timm/test_resnet", "batch_size": 64}, 1),
        (8, {"model": "timm/resnet18", "batch_size": 16}, 1),
        (8, {"model": "timm/resnet18", "batch_size": 64}, 0),
        (8, {"model": "timm/vit_tiny_patch16_224", "batch_size": 16}, 0),
    ],
)
def test_a_small_network_gets_one_thread_and_others_all(
    side: int, settings: dict[str, Any], threads: int
) -> None:
    assert threads_for(parse(settings), random_images(side)) == threads


def test_the_work_of_a_layer_is_two_flops_for_each_weight_and_position_of_a_batch() -> None:
    """A ViT of 12 blocks: 64 patches of one pixel and a class token, of 192 features each."""
    patches, tokens, features = 64, 65, 192
    patch = 3 * features * patches  # multiplications in the embedding of patches
    block = tokens * (3 + 1 + 4 + 4) * features**2  # queries, keys, values; output; two of the MLP
    attention = 2 * tokens**2 * features
    least = patch + 12 * block + 10 * features
    config = parse({"model": "timm/vit_tiny_patch16_224", "batch_size": 16})
    counted = work_of_a_layer(config, random_images(8)) * (1 + 12 * 4 + 1) / (2 * 16)
    # Whether the products of attention, which have no kernel, are counted depends on torch.
    assert least == pytest.approx(counted) or least + 12 * attention == pytest.approx(counted)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_another_number_of_threads_changes_a_run_by_rounding_alone(optimizer: str) -> None:
    config, data = small_run(optimizer=optimizer, width=8, epochs=2), small_digits()
    one, two = (train_on(threads, config, data) for threads in (1, 2))
    assert_same_run(one, two)
    assert_same_run(two, train_on(2, config, data), tolerance=0)


def train_on(threads: int, config: RunConfig, data: ImageData) -> TrainedRun:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return train_alone(config, data)
    finally:
        torch.set_num_threads(before)
