"""Loss and accuracy against a direct computation, whatever the chunks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from suite.data.splits import Split
from suite.declarations.config import RunConfig, parse
from suite.engine import evaluation
from suite.engine.evaluation import evaluate, scaled, set_precision
from suite.models import build
from suite.models.initialization import initial_parameter
from suite.models.specs import BufferSpec, ParameterSpec

Group = dict[str, Tensor]


def some_split(images: int = 23) -> Split:
    generator = torch.Generator().manual_seed(0)
    shape = (images, 2, 8, 9)
    return Split(
        torch.randint(256, shape, dtype=torch.uint8, generator=generator),
        torch.randint(4, (images,), generator=generator),
    )


class Linear:
    """Class scores linear in the pixels; notes the sizes of its batches."""

    parameters: tuple[ParameterSpec, ...] = ()
    buffers: tuple[BufferSpec, ...] = ()
    batch_statistics = False

    def __init__(self) -> None:
        self.batches: list[int] = []

    def logits(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        images: Tensor,
        *,
        training: bool,
    ) -> Tensor:
        assert not training
        assert not buffers
        self.batches.append(len(images))
        return torch.einsum("brchw,rkchw->brk", images, parameters["kernel"])

    def inference(self, parameters: Group, buffers: Group) -> Callable[[Tensor], Tensor]:
        return functools.partial(self.logits, parameters, buffers, training=False)


def directly(kernel: Tensor, split: Split) -> tuple[list[float], list[float]]:
    """Image by image, run by run."""
    losses, accuracies = [], []
    for own in kernel:
        loss, right = 0.0, 0
        for image, label in zip(split.images, split.labels, strict=True):
            scores = [float((image.double() / 255 * weights).sum()) for weights in own]
            loss -= float(torch.log_softmax(torch.tensor(scores, dtype=torch.float64), 0)[label])
            right += max(range(4), key=scores.__getitem__) == int(label)
        losses.append(loss / len(split))
        accuracies.append(right / len(split))
    return losses, accuracies


def test_loss_and_accuracy_are_the_means_over_images_of_each_run() -> None:
    kernel = torch.randn(3, 4, 2, 8, 9, dtype=torch.float64, generator=torch.Generator())
    loss, accuracy = evaluate(
        Linear(), {"kernel": kernel}, {}, some_split(), parse({"precision": "fp64"})
    )
    losses, accuracies = directly(kernel, some_split())
    assert_close(loss, torch.tensor(losses, dtype=torch.float64), rtol=1e-12, atol=0)
    assert accuracy.tolist() == accuracies
    assert len(set(losses)) == 3
    assert len(set(accuracies)) > 1


@pytest.mark.parametrize(("images", "batches"), [(1, [1] * 23), (10, [10, 10, 3]), (23, [23])])
def test_chunks_do_not_matter(
    images: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = torch.randn(3, 4, 2, 8, 9, dtype=torch.float64, generator=torch.Generator())
    config, network = parse({"precision": "fp64"}), Linear()
    whole = evaluate(Linear(), {"kernel": kernel}, {}, some_split(), config)
    monkeypatch.setattr(evaluation, "PIXELS_PER_BATCH", images * 3 * 72)
    parts = evaluate(network, {"kernel": kernel}, {}, some_split(), config)
    assert network.batches == batches
    assert_close(parts[0], whole[0], rtol=1e-14, atol=0)
    assert torch.equal(parts[1], whole[1])


def test_a_batch_smaller_than_one_image_is_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PIXELS_PER_BATCH", 1)
    network = Linear()
    kernel = torch.zeros(1, 4, 2, 8, 9)
    loss, _ = evaluate(network, {"kernel": kernel}, {}, some_split(3), parse({}))
    assert network.batches == [1, 1, 1]
    assert_close(loss, torch.tensor([4.0], dtype=torch.float64).log())


def resnet_numbers(config: RunConfig, runs: int) -> tuple[Any, Group, Group]:
    network = build(config, 2, 8, 9, 4)
    generator = torch.Generator().manual_seed(1)
    parameters = {
        spec.name: torch.stack(
            [initial_parameter(config.with_(seed=r), spec, torch.float64) for r in range(runs)]
        )
        for spec in network.parameters
    }
    buffers = {
        spec.name: 0.5 + torch.rand(runs, *spec.shape, dtype=torch.float64, generator=generator)
        for spec in network.buffers
    }
    return network, parameters, buffers


def test_normalization_is_in_inference_mode_and_keeps_its_running_values() -> None:
    config = parse({"precision": "fp64", "width": 2})
    network, parameters, buffers = resnet_numbers(config, 2)
    before = {name: value.clone() for name, value in buffers.items()}
    split = some_split()
    loss, accuracy = evaluate(network, parameters, buffers, split, config)
    assert_close(buffers, before, rtol=0, atol=0)
    images = (split.images.double() / 255).unsqueeze(1).repeat(1, 2, 1, 1, 1)
    scores = network.logits(parameters, buffers, images, training=False)
    for run in range(2):
        expected = nn.CrossEntropyLoss()(scores[:, run], split.labels)
        assert float(loss[run]) == pytest.approx(float(expected), rel=1e-12)
        right = (scores[:, run].argmax(1) == split.labels).double().mean()
        assert float(accuracy[run]) == float(right)


def test_single_precision_sums_in_double_precision() -> None:
    config = parse({"precision": "fp32"})
    kernel = torch.randn(1, 4, 2, 8, 9, generator=torch.Generator())
    loss, accuracy = evaluate(Linear(), {"kernel": kernel}, {}, some_split(), config)
    assert loss.dtype == accuracy.dtype == torch.float64
    exact, _ = directly(kernel.double(), some_split())
    assert float(loss) == pytest.approx(exact[0], rel=1e-5)


def test_bfloat16_scores_are_rounded_and_their_loss_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = torch.randn(1, 4, 2, 8, 9, generator=torch.Generator())
    exact, _ = directly(kernel.double(), some_split())
    seen = []
    cross_entropy = evaluation.F.cross_entropy

    def spying(scores: Tensor, *rest: Any, **more: Any) -> Tensor:
        seen.append(scores.dtype)
        return cross_entropy(scores, *rest, **more)

    monkeypatch.setattr(evaluation.F, "cross_entropy", spying)
    loss, _ = evaluate(Linear(), {"kernel": kernel}, {}, some_split(), parse({"precision": "bf16"}))
    assert seen == [torch.float32]
    assert float(loss) != pytest.approx(exact[0], rel=1e-5)
    assert float(loss) == pytest.approx(exact[0], rel=5e-2)


def test_bytes_become_numbers_from_0_to_1() -> None:
    images = torch.arange(256, dtype=torch.uint8)
    for dtype in (torch.float32, torch.float64):
        numbers = scaled(images, dtype)
        expected = torch.tensor([byte / 255 for byte in range(256)], dtype=torch.float64)
        assert torch.equal(numbers, expected.to(dtype))
    assert images.tolist() == list(range(256))
    assert scaled(numbers, torch.float64) is numbers


def test_tensor_float_32_is_used_only_where_it_is_asked_for() -> None:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for precision in ("tf32", "fp32", "tf32", "bf16", "fp64"):
            set_precision(parse({"precision": precision}))
            expected = precision in ("tf32", "bf16")
            assert [backend.allow_tf32 for backend in backends] == [expected, expected]
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


@pytest.mark.parametrize("model", ["resnet9", "resnet56"])
def test_many_batches_on_the_same_numbers_score_as_each_by_itself(model: str) -> None:
    network = build(parse({"model": model, "width": 2}), 1, 8, 8, 3)
    stream = torch.Generator().manual_seed(0)
    parameters, buffers = (
        {spec.name: torch.rand((2, *spec.shape), generator=stream) + 0.1 for spec in specs}
        for specs in (network.parameters, network.buffers)
    )
    scores_of = network.inference(parameters, buffers)
    for _ in range(2):
        images = torch.rand((3, 2, 1, 8, 8), generator=stream)
        expected = network.logits(parameters, buffers, images, training=False)
        assert torch.equal(scores_of(images), expected)
