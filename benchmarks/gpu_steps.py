"""The ways to train R networks at once that `benchmarks.gpu` compares; torch and NumPy suffice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu_task import (
    CHANNELS,
    CLASSES,
    Images,
    Run,
    build_network,
    initial_weights,
)
from benchmarks.stock_resnet9 import StockResNet9
from suite.engine.cuda_graph import CapturedStep, CudaGraphs, Step
from suite.engine.evaluation import DTYPES, autocast, scaled
from suite.engine.layout import Layout
from suite.engine.optimizers import Optimizer, arranged
from suite.engine.training_step import TrainingStep
from suite.models.initialization import initial_buffer
from suite.models.layers import Convolution
from suite.models.resnet import ResNet9

IM2COL_LIMIT = 2**34  # bytes of one layer's unfolded images


class Unavailable(Exception):
    """Why a way of training cannot be measured here."""


class Way(Protocol):
    """One way to train R runs."""

    def step(self, index: Tensor, rate: float) -> Tensor:
        """Update all runs on their batches, index (batch, R); class scores (batch, R, classes)."""
        ...

    def parameters(self) -> list[dict[str, Tensor]]:
        """Each run's parameters, by the suite's names."""
        ...


class PlainLoops:
    """Stock modules and `torch.optim`, one run after the other: what the others are held to."""

    def __init__(self, runs: Sequence[Run], data: Images) -> None:
        self.data, self.run, device = data, runs[0], data.images.device
        self.dtype = DTYPES[self.run.precision]
        self.names = [spec.name for spec in build_network(self.run, data).parameters]
        self.models = [
            StockResNet9(CHANNELS, run.width, CLASSES).to(
                device, self.dtype, memory_format=torch.channels_last
            )
            for run in runs
        ]
        for run, model in zip(runs, self.models, strict=True):
            start = initial_weights(run, data)
            with torch.no_grad():
                for name, parameter in zip(self.names, model.parameters(), strict=True):
                    parameter.copy_(start[name])
        self.optimizers = [self._optimizer(model) for model in self.models]

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        rate = self.run.learning_rate
        if self.run.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), lr=rate)
        momentum = self.run.momentum if self.run.optimizer == "momentum" else 0.0
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)

    def step(self, index: Tensor, rate: float) -> Tensor:
        """Update all runs; see :class:`Way`."""
        scores = []
        for run, (model, optimizer) in enumerate(zip(self.models, self.optimizers, strict=True)):
            chosen = index[:, run]
            images = scaled(self.data.images[chosen], self.dtype)
            images = images.contiguous(memory_format=torch.channels_last)
            with autocast(self.run, images.device):  # type: ignore[arg-type]
                predicted = model(images)
            loss = F.cross_entropy(predicted.to(self.dtype), self.data.labels[chosen])
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scores.append(predicted.detach())
        return torch.stack(scores, dim=1)

    def parameters(self) -> list[dict[str, Tensor]]:
        """Each run's parameters; see :class:`Way`."""
        return [
            {n: p.detach() for n, p in zip(self.names, model.parameters(), strict=True)}
            for model in self.models
        ]


def training_step(
    runs: Sequence[Run], data: Images, network: ResNet9 | None = None
) -> TrainingStep:
    """The suite's own step of R runs."""
    network = network or build_network(runs[0], data)
    dtype, device = DTYPES[runs[0].precision], data.images.device
    layout = Layout(arranged(runs[0].optimizer, network.parameters), len(runs))
    like = torch.empty(0, dtype=dtype, device=device)
    theta = layout.pack([initial_weights(run, data) for run in runs], like)
    buffers = {
        s.name: torch.stack([initial_buffer(s, dtype)] * len(runs)).to(device)
        for s in network.buffers
    }
    configs: Any = list(runs)
    split: Any = data
    optimizer = Optimizer(configs, layout, theta)
    return TrainingStep(configs[0], network, layout, theta, buffers, split, optimizer)


class Fleet:
    """The suite's step: launched kernel by kernel, or captured in a CUDA graph."""

    def __init__(
        self,
        runs: Sequence[Run],
        data: Images,
        *,
        graph: bool = False,
        network: ResNet9 | None = None,
    ) -> None:
        if graph and data.images.device.type != "cuda":
            raise Unavailable("CUDA graphs need a CUDA device")
        self.own = training_step(runs, data, network)
        self.advance: Step = self.own
        if graph:
            self.advance = CapturedStep(self.own, CudaGraphs(self.own.device), _refuse)

    def step(self, index: Tensor, rate: float) -> Tensor:
        """Update all runs; see :class:`Way`."""
        return self.advance(index, None, rate)[0]

    def parameters(self) -> list[dict[str, Tensor]]:
        """Each run's parameters; see :class:`Way`."""
        place = self.own.layout
        return [place.unpack(self.own.theta, run) for run in range(place.runs)]


def _refuse(line: str) -> None:
    raise RuntimeError(line)


class GemmConvolution(Convolution):
    """A convolution as one batched matrix product over unfolded images."""

    def apply(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve with given numbers; see :class:`suite.models.layers.Convolution`."""
        runs, outputs = kernel.shape[:2]
        batch, _, height, width = x.shape
        size = x.numel() * x.element_size() * self.size**2
        if size > IM2COL_LIMIT:
            raise Unavailable(f"unfolded images of one layer take {size / 2**30:.0f} GiB")
        columns = F.unfold(x, self.size, padding=self.size // 2)
        columns = columns.view(batch, runs, -1, height * width).permute(1, 2, 0, 3).flatten(2)
        scores = torch.bmm(kernel.reshape(runs, outputs, -1), columns)
        if bias is not None:
            scores = scores + bias.unsqueeze(2)
        scores = scores.view(runs, outputs, batch, height, width).permute(2, 0, 1, 3, 4)
        return scores.flatten(1, 2)


def gemm_fleet(runs: Sequence[Run], data: Images) -> Fleet:
    """The suite's step with batched GEMM in place of grouped convolutions."""
    network = build_network(runs[0], data)
    for block in network.blocks.values():
        old = block.convolution
        block.convolution = GemmConvolution(
            old.name, old.inputs, old.outputs, old.size, old.stride, old.semantics
        )
        block.convolution.order = old.order
    return Fleet(runs, data, graph=data.images.device.type == "cuda", network=network)


def compiled_fleet(runs: Sequence[Run], data: Images, *, graph: bool = False) -> Fleet:
    """The suite's step with the network's forward and backward pass through `torch.compile`."""
    torch.compiler.reset()
    network = build_network(runs[0], data)
    network.logits = torch.compile(network.logits, dynamic=False)  # type: ignore[method-assign]
    return Fleet(runs, data, graph=graph, network=network)


class Streams:
    """R steps of single runs on R streams, which one CUDA graph holds."""

    def __init__(self, runs: Sequence[Run], data: Images) -> None:
        if data.images.device.type != "cuda":
            raise Unavailable("streams need a CUDA device")
        self.steps = [training_step([run], data) for run in runs]
        self.device = data.images.device
        new_stream: Callable[[torch.device], torch.cuda.Stream] = torch.cuda.Stream
        self.streams = [new_stream(self.device) for _ in runs]
        self.graphs = CudaGraphs(self.device)
        self.replays: dict[int, tuple[Tensor, Callable[[], tuple[Tensor, Tensor]]]] = {}

    def _all(self, index: Tensor) -> tuple[Tensor, Tensor]:
        outer = torch.cuda.current_stream(self.device)
        parts = []
        for run, (step, stream) in enumerate(zip(self.steps, self.streams, strict=True)):
            stream.wait_stream(outer)
            with torch.cuda.stream(stream):
                parts.append(step.compute(index[:, run : run + 1], None))
        for stream in self.streams:
            outer.wait_stream(stream)
        scores, labels = zip(*parts, strict=True)
        return torch.cat(scores, dim=1), torch.cat(labels, dim=1)

    def _prepare(self, rate: float) -> None:
        for step in self.steps:
            step.optimizer.prepare(rate)

    def _capture(self, index: Tensor, rate: float) -> None:
        fixed = index.clone()
        states = [tensor for step in self.steps for tensor in step.state()]
        before = [tensor.clone() for tensor in states]
        counts = [step.optimizer.steps for step in self.steps]
        self._prepare(rate)
        self.graphs.warm_up(lambda: self._all(fixed))
        for tensor, value in zip(states, before, strict=True):
            tensor.copy_(value)
        for step, count in zip(self.steps, counts, strict=True):
            step.optimizer.steps = count
        self.replays[len(index)] = fixed, self.graphs.capture(lambda: self._all(fixed))

    def step(self, index: Tensor, rate: float) -> Tensor:
        """Update all runs; see :class:`Way`."""
        if len(index) not in self.replays:
            self._capture(index, rate)
        fixed, replay = self.replays[len(index)]
        fixed.copy_(index)
        self._prepare(rate)
        return replay()[0].clone()

    def parameters(self) -> list[dict[str, Tensor]]:
        """Each run's parameters; see :class:`Way`."""
        return [step.layout.unpack(step.theta, 0) for step in self.steps]


Maker = Callable[[Sequence[Run], Images], Way]

# Grouped convolutions unless the name says otherwise.
WAYS: Mapping[str, Maker] = {
    "plain": PlainLoops,
    "fleet": Fleet,
    "graph": functools.partial(Fleet, graph=True),
    "streams": Streams,
    "gemm": gemm_fleet,
    "compile": compiled_fleet,
    "compile-graph": functools.partial(compiled_fleet, graph=True),
}
