"""Loss and accuracy of R runs on one split, with normalization in inference mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.models.specs import Network

if TYPE_CHECKING:
    from suite.data.splits import Split
    from suite.declarations.config import RunConfig

Scores = tuple[Tensor, Tensor]  # of a batch: class scores (batch, R, classes), labels (batch,)

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.float32,
    "fp64": torch.float64,
}
# Pixels times runs that one evaluation batch holds: activations of a width-64 ResNet-9 stay
# under 2 GB.
PIXELS_PER_BATCH = 2**18


def autocast(config: RunConfig, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 arithmetic where the run's precision asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


def set_precision(config: RunConfig) -> None:
    """Make fp32 mean fp32 on GPUs, where TensorFloat-32 is torch's default for convolutions.

    bf16 allows it for what is left in fp32: Muon's products, which would cost more than the step.
    cuDNN's algorithms are fixed ones without atomic sums, not those which win a race in this very
    process, and attention is plain products, as its fused backward passes may add in any order: a
    run that is resumed goes on bit by bit.
    """
    allowed = config.precision in ("tf32", "bf16")
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    if torch.cuda.is_available():  # the CPU's fused attention obeys the same switch
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)


def scaled(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images in [0, 1]; nothing else is done to the inputs (Das et al. 2026, App. A)."""
    return images.to(dtype).div_(255) if images.dtype == torch.uint8 else images


@torch.no_grad()
def evaluate(
    network: Network,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    split: Split,
    config: RunConfig,
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of each run.

    Parameters
    ----------
    network, parameters, buffers
        The architecture and R runs' numbers, name to (R, …).
    split
        Images uint8 (N, C, H, W) and labels (N,), on the parameters' device.
    config
        One of the runs, for its precision.

    Returns
    -------
    loss, accuracy
        In nats and as a fraction, float64, shape (R,). The L2 penalty is not included.
    """
    return loss_and_accuracy(scored(network, parameters, buffers, split, config))


@torch.no_grad()
def loss_and_accuracy(batches: Iterable[Scores]) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of each run, as :func:`evaluate`, from its scores."""
    loss = correct = torch.zeros((), dtype=torch.float64)
    images = 0
    for scores, labels in batches:
        expected = labels.unsqueeze(1).expand(-1, scores.shape[1])
        losses = F.cross_entropy(scores.flatten(0, 1), expected.flatten(), reduction="none")
        loss = loss + losses.view_as(expected).sum(0, dtype=torch.float64)
        correct = correct + (scores.argmax(-1) == expected).sum(0)
        images += len(labels)
    return loss / images, correct / images


@torch.no_grad()
def scored(
    network: Network,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    split: Split,
    config: RunConfig,
) -> Iterator[Scores]:
    """Class scores of R runs, shape (batch, R, classes), and labels, batch by batch in order.

    Parameters
    ----------
    network, parameters, buffers, split, config
        As in :func:`evaluate`.
    """
    runs = next(iter(parameters.values())).shape[0]
    pixels = split.images.shape[2] * split.images.shape[3]
    chunk = max(1, PIXELS_PER_BATCH // (runs * pixels))
    scores_of = network.inference(parameters, buffers)
    chunks = zip(torch.split(split.images, chunk), torch.split(split.labels, chunk), strict=True)
    for images, labels in chunks:
        shared = scaled(images, DTYPES[config.precision]).unsqueeze(1).expand(-1, runs, -1, -1, -1)
        with autocast(config, images.device):
            scores = scores_of(shared)
        yield scores.to(DTYPES[config.precision]), labels
