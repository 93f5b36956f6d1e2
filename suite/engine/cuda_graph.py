"""A training step captured once for each batch size and replayed: one launch instead of hundreds.

On a GPU a step of small batches costs what its launches cost, not what its arithmetic does. A CUDA
graph repeats the launches of one step on the same memory, so a replay reads its batch and the
optimizer's factors (:meth:`suite.engine.optimizers.Optimizer.prepare`) from tensors that are filled
first.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from suite.basics.errors import first_line
from suite.data.augmentation import Draws
from suite.engine.training_step import TrainingStep

WARM_UPS = 3  # steps in which libraries choose their kernels and allocate what they keep

Outputs = tuple[Tensor, Tensor]
# What :meth:`suite.engine.training_step.TrainingStep.__call__` takes and gives.
Step = Callable[[Tensor, Draws | None, float], Outputs]


def stepper(step: TrainingStep, notify: Callable[[str], None] = warnings.warn) -> Step:
    """The fastest form of a step on its device: captured on a CUDA GPU, elsewhere as it is.

    Parameters
    ----------
    notify
        Called with one line if the step cannot be captured and is launched kernel by kernel; not
        again for other fleets of the same network.
    """
    if step.device.type != "cuda":
        return step
    return CapturedStep(step, CudaGraphs(step.device), functools.partial(_once, notify))


_told: set[str] = set()


def _once(notify: Callable[[str], None], line: str) -> None:
    if line not in _told:
        _told.add(line)
        notify(line)


class Capturer(Protocol):
    """What records a piece of work on tensors, and does it again."""

    def warm_up(self, work: Callable[[], Outputs]) -> None:
        """Do the work a few times, apart from what the device does otherwise."""
        ...

    def capture(self, work: Callable[[], Outputs]) -> Callable[[], Outputs]:
        """What does the recorded work again, always into the same tensors."""
        ...


class CudaGraphs:
    """CUDA graphs that share one memory pool, since only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], Outputs]) -> None:
        """Do the work on a stream of its own, as capturing wants it."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def capture(self, work: Callable[[], Outputs]) -> Callable[[], Outputs]:
        """Record the work; nothing of it is done yet."""
        graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream(self.device)
        try:
            with (
                torch.cuda.device(self.device),
                # Other threads, such as the one that uploads, may go on using the device.
                torch.cuda.graph(
                    graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
                ),
            ):
                outputs = work()
        except BaseException:
            # Ending a broken capture raises before it has left the capturing stream.
            torch.cuda.set_stream(before)
            raise

        def replay() -> Outputs:
            graph.replay()
            return outputs

        return replay


class CapturedStep:
    """A training step that is captured when a batch size first comes, and replayed from then on.

    Parameters
    ----------
    step
        What to capture; its optimizer is replayable.
    capturer
        How to capture it.
    notify
        Called with one line if it cannot be captured; its kernels are then launched one by one.
    """

    def __init__(
        self, step: TrainingStep, capturer: Capturer, notify: Callable[[str], None]
    ) -> None:
        if not step.optimizer.replayable:
            raise ValueError("step: a captured step needs a replayable optimizer")
        self.step, self.capturer, self.notify = step, capturer, notify
        self.captured = True
        self._by_size: dict[int, _Recorded] = {}

    def __call__(self, index: Tensor, draws: Draws | None, rate: float) -> Outputs:
        """Update every run; see :meth:`suite.engine.training_step.TrainingStep.__call__`.

        Raises
        ------
        torch.OutOfMemoryError
            If the device's memory is too small for the step.
        """
        recorded = self._recorded(index, draws, rate) if self.captured else None
        if recorded is None:
            return self.step(index, draws, rate)
        recorded.load(index, draws)
        self.step.optimizer.prepare(rate)
        scores, labels = recorded.replay()
        return scores.clone(), labels.clone()  # the next replay writes over them

    def _recorded(self, index: Tensor, draws: Draws | None, rate: float) -> _Recorded | None:
        """The capture for this size of batch, made now if it is the first; None: it cannot be."""
        size = len(index)
        if size not in self._by_size:
            try:
                self._by_size[size] = self._capture(index, draws, rate)
            except RuntimeError as error:
                if (shortage := _shortage(error)) is not None:
                    raise shortage from None
                self.captured = False
                self._by_size.clear()
                self.notify(
                    f"a step of {self.step.config.model} cannot be captured in a CUDA graph "
                    f"({first_line(error)}); its kernels are launched one by one, which is slower"
                )
                return None
        return self._by_size[size]

    def _capture(self, index: Tensor, draws: Draws | None, rate: float) -> _Recorded:
        """Capture a step, and leave the runs as they were."""
        step, optimizer = self.step, self.step.optimizer
        fixed, fixed_draws = index.clone(), _copied(draws)
        steps, before = optimizer.steps, [tensor.clone() for tensor in step.state()]
        try:
            # Warming up takes real steps.
            self.capturer.warm_up(lambda: step(fixed, fixed_draws, rate))
        finally:
            optimizer.steps = steps
            for tensor, value in zip(step.state(), before, strict=True):
                tensor.copy_(value)
        del before
        replay = self.capturer.capture(lambda: step.compute(fixed, fixed_draws))
        return _Recorded(fixed, fixed_draws, replay)


class _Recorded:
    """One capture: the tensors from which it reads its batch, and how to do it again."""

    def __init__(self, index: Tensor, draws: Draws | None, replay: Callable[[], Outputs]) -> None:
        self.index, self.draws, self.replay = index, draws, replay

    def load(self, index: Tensor, draws: Draws | None) -> None:
        """Take in the batch that the next replay is about."""
        self.index.copy_(index)
        if self.draws is not None:
            assert draws is not None
            self.draws.flip.copy_(draws.flip)
            self.draws.down.copy_(draws.down)
            self.draws.right.copy_(draws.right)


def _copied(draws: Draws | None) -> Draws | None:
    if draws is None:
        return None
    return Draws(draws.flip.clone(), draws.down.clone(), draws.right.clone())


def _shortage(error: BaseException | None) -> torch.OutOfMemoryError | None:
    """The shortage of memory behind an error: ending a broken capture raises one of its own."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return error
        error = error.__cause__ or error.__context__
    return None
