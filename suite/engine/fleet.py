"""The training engine: R runs at once, epoch by epoch. A single run is a fleet of one.

Runs of a fleet differ in how they start, seed, learning rate and L2 only. Each keeps its own
batches and initial weights, whatever its company; one that diverges or stops early leaves at the
end of the epoch, and the others go on.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from suite.basics.randomness import batch_order
from suite.data import augmentation
from suite.data.splits import ImageData
from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig
from suite.declarations.metrics import EpochRecord, best_record, summarize
from suite.declarations.schedule import learning_rates, steps_per_epoch
from suite.engine.checkpoint import Group, MisfitError, RefusedError, RunState
from suite.engine.cuda_graph import stepper
from suite.engine.evaluation import DTYPES, evaluate, set_precision
from suite.engine.fitting import require_fit
from suite.engine.kernel_record import kernel_record
from suite.engine.layout import Layout
from suite.engine.optimizers import Optimizer, arranged
from suite.engine.preparation import check
from suite.engine.returned_model import returned_model
from suite.engine.runs import FUSABLE, EpochOutcome, Member, TrainedRun, fusion_key
from suite.engine.training_step import Tally, TrainingStep
from suite.models import build
from suite.models.initialization import initial_buffer, initial_parameter
from suite.models.specs import Network, ParameterSpec


class Interrupted(Exception):
    """Training was asked to stop; what the last checkpoint holds is safe."""


class Fleet:
    """R runs that train together.

    Parameters
    ----------
    configs
        The runs; they agree in all but `FUSABLE`.
    data
        The data set; it is moved to `device`.
    device
        Where to train.
    states
        For each run where it goes on from, all at the same epoch; None starts anew.
    interrupted
        Asked before every step; once it says yes, :class:`Interrupted` is raised.
    notify
        Called with one line on what a person should know.

    Raises
    ------
    ConfigError
        If a run cannot be trained on these data.
    RefusedError
        If a state does not fit its run.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        data: ImageData,
        device: torch.device,
        *,
        states: Sequence[RunState] | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        notify: Callable[[str], None] = warnings.warn,
    ) -> None:
        if len({fusion_key(config) for config in configs}) != 1:
            raise ValueError(f"runs of a fleet may differ only in {', '.join(FUSABLE)}")
        check(configs[0], data)  # they agree in all that it looks at
        self.device, self.interrupted, self.notify = device, interrupted, notify
        self.common = configs[0]
        self.dtype = DTYPES[self.common.precision]
        set_precision(self.common)
        self.data = data.to(device)
        self.steps = steps_per_epoch(self.common, len(data.train))
        self._start(configs, states)

    def _start(self, configs: Sequence[RunConfig], states: Sequence[RunState] | None) -> None:
        shape = (self.data.channels, self.data.height, self.data.width, self.data.num_classes)
        networks = [build(config, *shape) for config in configs]
        self.network = networks[0]
        pairs = list(zip(configs, networks, strict=True))
        parameters = [
            {s.name: initial_parameter(config, s, self.dtype) for s in network.parameters}
            for config, network in pairs
        ]
        buffers = [
            {s.name: initial_buffer(s, self.dtype) for s in network.buffers} for _, network in pairs
        ]
        specs = arranged(self.common.optimizer, self.network.parameters)
        self.layout = Layout(specs, len(configs))
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        norms = [_kernel_norm(specs, start) for start in parameters]
        self.members = [Member(c, norm) for c, norm in zip(configs, norms, strict=True)]
        kernels = [spec.name for spec in self.network.parameters if spec.kind == "kernel"]
        self.record = kernel_record(kernels, self.layout, parameters, like)
        if states:
            _require_fits(states, pairs)
            parameters = [state.tensors["parameters"] for state in states]
            buffers = [state.tensors.get("buffers", {}) for state in states]
        self.theta = self.layout.pack(parameters, like)
        self.buffers = _stacked(buffers, self.device)
        self.best_theta = self.theta.clone()
        self.best_buffers = {name: value.clone() for name, value in self.buffers.items()}
        self._prepare()
        if states:
            self._restore(states, like)

    def _restore(self, states: Sequence[RunState], like: Tensor) -> None:
        epochs = {state.epoch for state in states}
        if len(epochs) != 1:
            raise ValueError(f"runs of a fleet go on from one epoch, got {sorted(epochs)}")
        for member, state in zip(self.members, states, strict=True):
            member.history = list(state.history)
            member.best = best_record(member.history)
            member.kernel_norm_initial = state.kernel_norm_initial
        self._restore_record(states)
        best = [state.tensors["best_parameters"] for state in states]
        self.best_theta = self.layout.pack(best, like)
        self.best_buffers = _stacked(
            [state.tensors.get("best_buffers", {}) for state in states], self.device
        )
        moments = {
            name: place.pack([state.tensors.get(f"moment_{name}", {}) for state in states], like)
            for name, place in self.optimizer.moment_layouts.items()
        }
        self.optimizer.restore(moments, epochs.pop() * self.steps)

    def _restore_record(self, states: Sequence[RunState]) -> None:
        if self.record is None:
            return
        begun = zip(states, self.record.histories, strict=True)
        self.record.histories = [state.layers or anew for state, anew in begun]
        if not all(state.layers for state in states):
            self.notify(
                f"an earlier version trained {self.epoch} epochs without measuring each layer; "
                "layers are measured from here on"
            )

    def _prepare(self) -> None:
        configs = [member.config for member in self.members]
        self.optimizer = Optimizer(configs, self.layout, self.theta)
        self.step = TrainingStep(
            self.common,
            self.network,
            self.layout,
            self.theta,
            self.buffers,
            self.data.train,
            self.optimizer,
        )
        self.advance = stepper(self.step, self.notify)
        self.rates = learning_rates(configs[0], len(self.data.train))
        penalties = [config.kernel_l2 for config in configs]
        self.strengths = (  # of Keras's L2, by run
            torch.tensor(penalties, dtype=self.dtype, device=self.device)
            if any(penalties) and self.common.semantics == "keras"
            else None
        )

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.members[0].history) if self.members else self.common.epochs

    def epochs(self) -> Iterator[EpochOutcome]:
        """Train until every run has ended, one outcome an epoch.

        Raises
        ------
        Interrupted
            If asked to stop; the epoch under way is lost.
        """
        if self.members[0].history and (ended := self._release()):
            yield EpochOutcome({}, ended)  # a checkpoint of a run's very last epoch
        while self.members:
            yield self._epoch()

    def measure(self, steps: int, at_least: float = 0.0) -> list[float]:
        """Train some steps and throw the fleet away: seconds that each took, for calibration.

        Parameters
        ----------
        steps
            Fewest steps.
        at_least
            Seconds: more steps are taken until they have passed.
        """
        seeds = [member.config.seed for member in self.members]
        images, batch = len(self.data.train), self.common.batch_size
        order = torch.stack([batch_order(seed, 1, images) for seed in seeds], dim=1)
        index = order[:batch].to(self.device)
        draws = None
        if self.common.augmentation != "none":
            draws = augmentation.draw(seeds, 1, batch, self.device)
        seconds: list[float] = []
        while len(seconds) < steps or sum(seconds) < at_least:
            if self.interrupted():
                raise Interrupted
            start = time.perf_counter()
            scores, _ = self.advance(index, draws, float(self.rates[0]))
            scores.sum().item()  # waits for the device
            seconds.append(time.perf_counter() - start)
        return seconds

    def _epoch(self) -> EpochOutcome:
        epoch = self.epoch + 1
        train_loss, correct = self._pass(epoch)
        views = self.layout.views(self.theta)
        val_loss, val_accuracy = evaluate(
            self.network, views, self.buffers, self.data.validation, self.common
        )
        square_sum = self.layout.kernel_square_sum(self.theta)
        val_loss = val_loss + self._keras_penalty(square_sum)
        images = len(self.data.train)
        numbers = torch.stack(
            [train_loss / images, correct / images, val_loss, val_accuracy, square_sum.sqrt()]
        )
        if self.record is not None:
            self.record.measure(epoch, self.common.epochs, self.theta)
        return self._record(epoch, numbers.double().cpu())

    def _keras_penalty(self, square_sum: Tensor) -> Tensor | float:
        """λΣw² of each run, which Keras adds to the loss; 0 where nothing is added."""
        return 0.0 if self.strengths is None else self.strengths * square_sum

    def _pass(self, epoch: int) -> tuple[Tensor, Tensor]:
        """One pass over the training images: each run's summed loss and correct answers."""
        seeds = [member.config.seed for member in self.members]
        images, batch = len(self.data.train), self.common.batch_size
        orders = [batch_order(seed, epoch, images) for seed in seeds]
        order = torch.stack(orders, dim=1).to(self.device)
        draws = (
            augmentation.draw(seeds, epoch, images, self.device)
            if self.common.augmentation != "none"
            else None
        )
        tally = Tally(len(seeds), self.device)
        penalty = torch.zeros_like(tally.loss)
        for step, start in enumerate(range(0, images, batch)):
            if self.interrupted():
                raise Interrupted
            part = slice(start, start + batch)
            index = order[part]
            if self.strengths is not None:
                square_sum = self.layout.kernel_square_sum(self.theta)
                penalty += len(index) * self._keras_penalty(square_sum)
            rate = float(self.rates[(epoch - 1) * self.steps + step])
            tally.add(*self.advance(index, draws[part] if draws else None, rate))
        tally.count()
        return tally.loss + penalty, tally.correct

    def _record(self, epoch: int, numbers: Tensor) -> EpochOutcome:
        now = time.time_ns() // 1_000_000
        records = {}
        for run, member in enumerate(self.members):
            train_loss, train_accuracy, val_loss, val_accuracy, norm = numbers[:, run].tolist()
            share = member.config.learning_rate / self.members[0].config.learning_rate
            rate = float(self.rates[epoch * self.steps - 1]) * share
            record = EpochRecord(
                epoch, now, train_loss, train_accuracy, val_loss, val_accuracy, norm, rate
            )
            records[member.config.fingerprint] = record
            if member.add(record):
                self._keep_best(run)
        return EpochOutcome(records, self._release())

    def _keep_best(self, run: int) -> None:
        best = self.layout.views(self.best_theta)
        for name, value in self.layout.views(self.theta).items():
            best[name][run] = value[run]
        for name, value in self.buffers.items():
            self.best_buffers[name][run] = value[run]

    def _release(self) -> list[TrainedRun]:
        """Take the runs that have ended out of the fleet."""
        ended = [run for run, member in enumerate(self.members) if member.finished]
        finished = [self._finish(run) for run in ended]
        if ended:
            self._keep([run for run in range(len(self.members)) if run not in ended])
        return finished

    def _finish(self, run: int) -> TrainedRun:
        member = self.members[run]
        config, history = member.config, member.history
        summary = summarize(history) | {
            "kernel_norm_initial": member.kernel_norm_initial,
            "trainable_parameters": float(self.layout.size_of_one),
        }
        elapsed = clocks(config, len(self.data.train))
        last = history[-1].epoch - 1
        for name, values in (("sgd", elapsed.sgd), ("l2", elapsed.l2), ("adapt", elapsed.adapt)):
            summary[f"clock_{name}"] = float(values[last])
        best = None
        if "best_epoch" in summary:
            best = returned_model(
                self.network,
                self.layout.unpack(self.best_theta, run),
                {name: value[run] for name, value in self.best_buffers.items()},
                self.data.test,
                config,
            )
            summary |= best.summary
        layers = None
        if self.record is not None:
            at = {member.best.epoch: self.best_theta} if member.best else {}
            layers = self.record.at_end(run, {**at, history[-1].epoch: self.theta})
        return TrainedRun(
            config,
            history,
            summary,
            member.diverged,
            best.parameters if best else None,
            best.buffers if best else None,
            best.predictions if best else None,
            layers=layers,
        )

    def _keep(self, runs: list[int]) -> None:
        """Go on with some of the runs."""
        self.members = [self.members[run] for run in runs]
        if not runs:
            return
        place = torch.tensor(runs, device=self.device)
        old, moments, steps = self.layout, self.optimizer.moments, self.optimizer.steps
        places = self.optimizer.moment_layouts
        self.layout = Layout(old.specs, len(runs))
        self.record = self.record and self.record.chosen(runs)
        self.theta = old.chosen(self.theta, place)
        self.best_theta = old.chosen(self.best_theta, place)
        self.buffers = {name: value[place] for name, value in self.buffers.items()}
        self.best_buffers = {name: value[place] for name, value in self.best_buffers.items()}
        self._prepare()
        kept = {name: places[name].chosen(flat, place) for name, flat in moments.items()}
        self.optimizer.restore(kept, steps)

    def states(self) -> list[RunState]:
        """Where each run stands, on the CPU, to be saved."""
        flats = {"parameters": (self.layout, self.theta)}
        flats["best_parameters"] = (self.layout, self.best_theta)
        for name, flat in self.optimizer.moments.items():
            flats[f"moment_{name}"] = (self.optimizer.moment_layouts[name], flat)
        stacks = {group: place.views(_on_cpu(flat)) for group, (place, flat) in flats.items()}
        for group, stack in (("buffers", self.buffers), ("best_buffers", self.best_buffers)):
            stacks[group] = {name: _on_cpu(value) for name, value in stack.items()}
        return [
            RunState(
                member.config,
                {
                    group: {name: value[run].clone() for name, value in stack.items()}
                    for group, stack in stacks.items()
                },
                list(member.history),
                member.kernel_norm_initial,
                self.record.histories[run] if self.record else None,
            )
            for run, member in enumerate(self.members)
        ]


def _require_fits(states: Sequence[RunState], pairs: Sequence[tuple[RunConfig, Network]]) -> None:
    for state, (config, network) in zip(states, pairs, strict=True):
        try:
            require_fit(state, config, network)
        except MisfitError as error:
            finding = f"state of {config.run_name}: cannot be gone on from ({error})"
            raise RefusedError(finding, "train the run from the start") from error


def _kernel_norm(specs: Sequence[ParameterSpec], parameters: Group) -> float:
    kernels = [spec.name for spec in specs if spec.kind == "kernel"]
    squares = [parameters[name].double().square().sum() for name in kernels]
    return float(torch.stack(squares).sum().sqrt())


def _on_cpu(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, from a GPU in one copy to page-locked memory."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)


def _stacked(runs: Sequence[Group], device: torch.device) -> Group:
    return {name: torch.stack([run[name] for run in runs]).to(device) for name in runs[0]}
