"""Steps that are captured and replayed do what steps launched one by one do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tapes import Tapes
from torch import Tensor
from training_helpers import CPU, assert_same_run, small_digits, small_run, train

from suite.data.splits import ImageData
from suite.engine import cuda_graph as captured
from suite.engine import fleet
from suite.engine.cuda_graph import CapturedStep, stepper
from suite.engine.fleet import Fleet
from suite.engine.optimizers import Optimizer

RUNS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "kernel_l2": 1e-2},
    {"optimizer": "momentum", "augmentation": "flip-crop", "norm": "layer", "width": 4},
    {"optimizer": "momentum", "semantics": "torch", "kernel_l2": 1e-2},
    {"optimizer": "adam"},
    {"optimizer": "adamw", "semantics": "torch", "weight_decay": 0.1},
    {"optimizer": "muon", "learning_rate": 1e-2},
    {"optimizer": "momentum", "momentum_kind": "nesterov", "warmup_epochs": 1},
    {"optimizer": "lion", "weight_decay": 0.1, "semantics": "torch"},
    {"model": "timm/test_resnet", "optimizer": "momentum"},
]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return small_digits()


def use_tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tapes]:
    """Fleets capture their steps on tapes from now on; those made so far."""
    made: list[Tapes] = []

    def on_tape(step: Any, notify: Callable[[str], None]) -> CapturedStep:
        made.append(Tapes(step))
        return CapturedStep(step, made[-1], notify)

    monkeypatch.setattr(fleet, "stepper", on_tape)
    monkeypatch.setattr(fleet, "Optimizer", functools.partial(Optimizer, replayable=True))
    return made


def company(**common: Any) -> list[Any]:
    return [small_run(sigma_w=sigma_w, seed=seed, **common) for sigma_w, seed in [(1, 0), (2, 1)]]


@pytest.mark.parametrize("common", RUNS, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_a_fleet_of_replayed_steps_is_the_fleet_of_launched_ones(
    common: dict[str, Any], data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = company(epochs=2, **common)
    expected = train(Fleet(configs, data, CPU))
    made = use_tapes(monkeypatch)
    ours = train(Fleet(configs, data, CPU))
    assert [tape.captures for tape in made] == [2], "the full batch and the tail"
    for fingerprint, run in expected.items():
        assert_same_run(ours[fingerprint], run)


def test_the_tail_is_captured_apart_and_a_smaller_company_anew(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = small_run(learning_rate=1e6, seed=5)
    calm = small_run(seed=1)
    (expected,) = train(Fleet([calm], data, CPU)).values()
    made = use_tapes(monkeypatch)
    ours = train(Fleet([wild, calm], data, CPU))
    assert [tape.captures for tape in made] == [2, 2]
    assert ours[wild.fingerprint].diverged
    assert_same_run(ours[calm.fingerprint], expected)


def test_runs_resumed_on_replayed_steps_go_on_bit_by_bit(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tapes(monkeypatch)
    configs = company(optimizer="adam", augmentation="flip-crop", precision="fp32")
    begun = Fleet(configs, data, CPU)
    next(epochs := begun.epochs())
    resumed = train(Fleet(configs, data, CPU, states=begun.states()))
    for outcome in epochs:
        for run in outcome.ended:
            assert_same_run(resumed[run.config.fingerprint], run, tolerance=0)


def captured_step(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> CapturedStep:
    use_tapes(monkeypatch)
    step = Fleet(company(optimizer="adam"), data, CPU).advance
    assert isinstance(step, CapturedStep)
    return step


def test_capturing_leaves_the_runs_as_they_were(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = captured_step(data, monkeypatch)
    index = torch.arange(16).view(8, 2)
    step(index, None, 1e-2)
    before = [tensor.clone() for tensor in step.step.state()]
    assert sum(int(tensor.count_nonzero()) > 0 for tensor in before) == len(before)
    step._capture(index[:3], None, 1e-2)
    assert step.step.optimizer.steps == 1
    for tensor, value in zip(step.step.state(), before, strict=True):
        torch.testing.assert_close(tensor, value, rtol=0, atol=0)


def test_scores_outlive_the_next_step(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    step = captured_step(data, monkeypatch)
    index = torch.arange(16).view(8, 2)
    scores, labels = step(index, None, 1e-2)
    kept = scores.clone()
    step(index + 16, None, 1e-2)
    torch.testing.assert_close(scores, kept, rtol=0, atol=0)
    torch.testing.assert_close(labels, data.train.labels[index], rtol=0, atol=0)


def test_a_network_that_cannot_be_captured_is_trained_all_the_same_with_one_notice(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = company()
    expected = train(Fleet(configs, data, CPU))
    use_tapes(monkeypatch)
    said: list[str] = []
    awkward = Fleet(configs, data, CPU, notify=said.append)
    logits = awkward.network.logits

    def waiting(*args: Any, **options: Any) -> Tensor:
        scores = logits(*args, **options)
        float(scores.detach().sum())
        return scores

    monkeypatch.setattr(awkward.network, "logits", waiting)
    ours = train(awkward)
    for fingerprint, run in expected.items():
        assert_same_run(ours[fingerprint], run)
    (line,) = said
    start = "a step of resnet9 cannot be captured in a CUDA graph (operation not permitted when "
    assert line.startswith(start)
    assert "\n" not in line


@pytest.mark.parametrize("hidden", [False, True])
def test_a_shortage_of_memory_while_capturing_is_told_as_such(
    hidden: bool, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = captured_step(data, monkeypatch)

    def capture(_self: Tapes, _work: Any) -> Any:
        try:
            raise torch.OutOfMemoryError("no room")
        finally:
            if hidden:
                raise RuntimeError("capture was invalidated")

    monkeypatch.setattr(Tapes, "capture", capture)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        step(torch.arange(16).view(8, 2), None, 1e-2)
    assert step.captured


def test_a_step_with_floats_in_its_update_is_not_captured(data: ImageData) -> None:
    step = Fleet(company(), data, CPU).step
    with pytest.raises(ValueError, match="needs a replayable optimizer"):
        CapturedStep(step, Tapes(step), print)


def test_on_a_cpu_a_step_stays_as_it_is(data: ImageData) -> None:
    step = Fleet(company(), data, CPU).step
    assert stepper(step) is step


def test_what_cannot_be_captured_is_told_once_for_all_fleets() -> None:
    said: list[str] = []
    for line in ("a step of x cannot", "a step of y cannot", "a step of x cannot"):
        captured._once(said.append, line)
    assert said == ["a step of x cannot", "a step of y cannot"]


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A call from which on a GPU's steps are launched kernel by kernel."""
    return lambda: monkeypatch.setattr(fleet, "stepper", lambda step, _notify: step)


def train_on_gpu(configs: list[Any], data: ImageData) -> dict[str, Any]:
    said: list[str] = []
    ours = train(Fleet(configs, data, torch.device("cuda"), notify=said.append))
    assert not said
    return ours


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("common", RUNS, ids=lambda c: "-".join(str(v) for v in c.values()))
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_on_a_gpu_replayed_steps_are_launched_ones(
    precision: str, common: dict[str, Any], data: ImageData, launched: Callable[[], None]
) -> None:
    configs = company(**common | {"precision": precision, "epochs": 2})
    ours = train_on_gpu(configs, data)
    launched()
    tolerance = {"fp32": 1e-4, "bf16": 5e-2, "fp64": 1e-9}[precision]
    for fingerprint, run in train_on_gpu(configs, data).items():
        assert_same_run(ours[fingerprint], run, tolerance)


@pytest.mark.gpu
@needs_cuda
def test_on_a_gpu_double_precision_is_the_cpus(data: ImageData) -> None:
    configs = company(optimizer="adam", augmentation="flip-crop")
    expected = train(Fleet(configs, data, CPU))
    for fingerprint, run in train_on_gpu(configs, data).items():
        assert_same_run(run, expected[fingerprint], 1e-8)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("model", ["resnet9", "timm/test_resnet"])
def test_on_a_gpu_resumed_runs_go_on_bit_by_bit(model: str, data: ImageData) -> None:
    configs = company(model=model, optimizer="adam", precision="fp32")
    device = torch.device("cuda")
    begun = Fleet(configs, data, device)
    next(epochs := begun.epochs())
    resumed = train(Fleet(configs, data, device, states=begun.states()))
    for outcome in epochs:
        for run in outcome.ended:
            assert_same_run(resumed[run.config.fingerprint], run, tolerance=0)


@pytest.mark.gpu
@needs_cuda
def test_on_a_gpu_each_size_of_batch_is_captured_once(data: ImageData) -> None:
    training = Fleet(company(), data, torch.device("cuda"))
    step = training.advance
    next(training.epochs())
    assert isinstance(step, captured.CapturedStep)
    assert sorted(step._by_size) == [2, 8]
