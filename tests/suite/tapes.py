"""A CUDA graph's stand-in on the CPU: it records the operations of a step and repeats them.

As in a CUDA graph, numbers of Python's are frozen, memory is that of the recording, and work for
which the host has to wait or hand something over is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from suite.engine.training_step import TrainingStep

Outputs = tuple[Tensor, Tensor]

aten = torch.ops.aten
# `item()` and its like, and tensors made of Python's numbers.
REFUSED = {aten._local_scalar_dense.default, aten.lift_fresh.default, aten.nonzero.default}


class Tape(TorchDispatchMode):
    """While entered, every operation is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Sequence[Any], Mapping[str, Any], list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}\nmore")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, tree_leaves(result)))
        return result

    @torch.no_grad()
    def play(self) -> None:
        """Do all operations again, into the memory of the first time."""
        for func, args, kwargs, results in self.calls:
            for old, new in zip(results, tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.detach().copy_(new)


class Tapes:
    """Captures one step as :class:`suite.engine.cuda_graph.CudaGraphs` does, without doing it."""

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self.captures = 0

    def warm_up(self, work: Callable[[], Outputs]) -> None:
        for _ in range(2):
            work()

    def capture(self, work: Callable[[], Outputs]) -> Callable[[], Outputs]:
        before = [tensor.clone() for tensor in self.step.state()]
        try:
            with Tape() as tape:
                outputs = work()
        finally:
            for tensor, value in zip(self.step.state(), before, strict=True):
                tensor.copy_(value)
        for tensor in outputs:
            tensor.zero_()  # a graph's outputs hold nothing before its first replay
        self.captures += 1

        def replay() -> Outputs:
            tape.play()
            return outputs

        return replay
