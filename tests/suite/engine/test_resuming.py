"""A run that is stopped, saved and loaded goes on as if nothing had happened, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import CPU, assert_same_run, metrics, small_digits, small_run, train

from suite.basics.files import written_whole
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.engine.checkpoint import RunState, load, save
from suite.engine.fleet import Fleet, Interrupted
from suite.engine.runs import TrainedRun

# Single precision, as in practice; the fleets differ in all that they can.
CASES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum in torch semantics": {"optimizer": "momentum", "semantics": "torch"},
    "adam, augmented": {"optimizer": "adam", "augmentation": "flip-crop"},
    "adamw, layer norm": {"optimizer": "adamw", "norm": "layer", "width": 4},
    "muon_keras": {"optimizer": "muon_keras"},
    "muon": {"optimizer": "muon"},
    "nesterov, warmed up": {
        "optimizer": "momentum",
        "momentum_kind": "nesterov",
        "warmup_epochs": 2,
    },
    "lion": {"optimizer": "lion"},
    "timm": {"optimizer": "momentum", "model": "timm/test_resnet"},
    "mup, without l2": {
        "optimizer": "adam",
        "parameterization": "mup",
        "mup_base_width": 1,
        "kernel_l2": 0.0,
    },
    "another start": {
        "optimizer": "momentum",
        "kernel_distribution": "orthogonal",
        "layer_scaling": -0.5,
        "head_scale": 3.0,
    },
    "vit": {"optimizer": "muon", "model": "vit"},
}
RUNS = [(1.0, 1, 1e-2, 0.0), (2.5, 0, 1e-3, 1e-2), (0.3, 0, 3e-3, 0.0)]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return small_digits()


def some_runs(count: int, **common: Any) -> list[RunConfig]:
    fixed = {"precision": "fp32", "epochs": 3, "batch_size": 20}
    return [
        small_run(
            **fixed
            | {"sigma_w": sigma_w, "seed": seed, "learning_rate": rate, "kernel_l2": strength}
            | common
        )
        for sigma_w, seed, rate, strength in RUNS[:count]
    ]


def through_files(states: Sequence[RunState], folder: Path) -> list[RunState]:
    loaded = []
    for state in states:
        path = folder / f"{state.config.fingerprint}.safetensors"
        with written_whole(path) as scratch:
            save(state, scratch)
        read = load(path)
        assert read is not None
        loaded.append(read)
    return loaded


def states_after(configs: Sequence[RunConfig], data: ImageData, epochs: int) -> list[RunState]:
    training = Fleet(configs, data, CPU)
    for _, _ in zip(range(epochs), training.epochs(), strict=False):
        pass
    return training.states()


def resumed(states: Sequence[RunState], data: ImageData) -> dict[str, TrainedRun]:
    return train(Fleet([state.config for state in states], data, CPU, states=states))


def assert_same_runs(ours: dict[str, TrainedRun], theirs: dict[str, TrainedRun]) -> None:
    assert set(ours) == set(theirs)
    for fingerprint, run in theirs.items():
        assert_same_run(ours[fingerprint], run, tolerance=0)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_resuming_is_bitwise_not_stopping(
    case: str, count: int, data: ImageData, tmp_path: Path
) -> None:
    configs = some_runs(count, **CASES[case])
    whole = train(Fleet(configs, data, CPU))
    states = through_files(states_after(configs, data, 1), tmp_path)
    assert [state.epoch for state in states] == [1] * count
    assert_same_runs(resumed(states, data), whole)


def test_resuming_twice_is_bitwise_not_stopping(data: ImageData, tmp_path: Path) -> None:
    configs = some_runs(2, optimizer="adam")
    whole = train(Fleet(configs, data, CPU))
    states = through_files(states_after(configs, data, 1), tmp_path)
    again = Fleet(configs, data, CPU, states=states)
    next(again.epochs())
    assert again.epoch == 2
    assert_same_runs(resumed(through_files(again.states(), tmp_path), data), whole)


@pytest.mark.parametrize(("optimizer", "place"), [("sgd", 0), ("adam", 0), ("muon", 1)])
def test_resuming_after_a_mate_has_left_is_bitwise_not_stopping(
    optimizer: str, place: int, data: ImageData, tmp_path: Path
) -> None:
    stays = some_runs(2, optimizer=optimizer, epochs=4)
    wild = small_run(**stays[0].model_dump() | {"learning_rate": 1e30, "seed": 9})
    configs = [*stays[:place], wild, *stays[place:]]
    whole = train(Fleet(configs, data, CPU))
    assert whole.pop(wild.fingerprint).diverged
    states = through_files(states_after(configs, data, 2), tmp_path)
    assert [state.config for state in states] == stays
    assert_same_runs(resumed(states, data), whole)


def test_a_run_may_go_on_without_its_company(data: ImageData, tmp_path: Path) -> None:
    configs = some_runs(3, precision="fp64", optimizer="momentum")
    whole = train(Fleet(configs, data, CPU))
    for state in through_files(states_after(configs, data, 2), tmp_path):
        (alone,) = resumed([state], data).values()
        assert_same_run(alone, whole[state.config.fingerprint])


def test_resuming_from_the_last_epoch_only_finishes(data: ImageData, tmp_path: Path) -> None:
    # Four epochs of six at a constant rate are four of four.
    longer = some_runs(2, schedule="constant", epochs=6)
    configs = [config.with_(epochs=4) for config in longer]
    whole = train(Fleet(configs, data, CPU))
    states = [
        replace(state, config=config)
        for state, config in zip(states_after(longer, data, 4), configs, strict=True)
    ]
    states = through_files(states, tmp_path)
    outcomes = list(Fleet(configs, data, CPU, states=states).epochs())
    assert [(len(o.records), len(o.ended)) for o in outcomes] == [(0, 2)]
    ended = {run.config.fingerprint: run for run in outcomes[0].ended}
    assert_same_runs(ended, whole)
    assert [run.history for run in ended.values()] == [state.history for state in states]


def test_resuming_continues_to_count_the_patience(data: ImageData, tmp_path: Path) -> None:
    fixed = {"optimizer": "momentum", "epochs": 10, "early_stopping_patience": 4}
    config = small_run(learning_rate=0.01, seed=3, **fixed)
    whole = train(Fleet([config], data, CPU))
    states = through_files(states_after([config], data, 3), tmp_path)
    ended = resumed(states, data)
    assert_same_runs(ended, whole)
    assert len(ended[config.fingerprint].history) == 5


def test_states_of_different_epochs_make_no_fleet(data: ImageData) -> None:
    one, two = some_runs(2)
    states = states_after([one], data, 1) + states_after([two], data, 2)
    with pytest.raises(ValueError, match=r"go on from one epoch, got \[1, 2\]"):
        Fleet([one, two], data, CPU, states=states)


def test_saved_state_does_not_change_while_training_goes_on(data: ImageData) -> None:
    training = Fleet(some_runs(1, optimizer="adam"), data, CPU)
    epochs = training.epochs()
    next(epochs)
    (state,) = training.states()
    groups = {"parameters", "best_parameters", "buffers", "best_buffers"}
    assert set(state.tensors) == groups | {"moment_first", "moment_second"}
    before = {g: {n: t.clone() for n, t in part.items()} for g, part in state.tensors.items()}
    next(epochs)
    torch.testing.assert_close(state.tensors, before, rtol=0, atol=0)
    assert state.epoch == 1
    (later,) = training.states()
    for group, part in before.items():
        if not group.startswith("best"):
            # Under BatchNorm a convolution's bias has no gradient.
            moving = [n for n in part if not n.endswith(".bias") or n == "head.bias"]
            assert not any(torch.equal(part[n], later.tensors[group][n]) for n in moving)


@pytest.mark.parametrize("stop_before_step", [1, 8, 9, 13, 24])
def test_interruption_comes_before_the_next_step_and_loses_that_epoch_only(
    stop_before_step: int, data: ImageData, tmp_path: Path
) -> None:
    config = small_run()
    asked: Iterator[int] = iter(range(1, 100))
    stopping = Fleet([config], data, CPU, interrupted=lambda: next(asked) == stop_before_step)
    states: list[RunState] = []

    def keep_on() -> None:
        for _ in stopping.epochs():
            states[:] = through_files(stopping.states(), tmp_path)

    with pytest.raises(Interrupted):
        keep_on()
    assert next(asked) == stop_before_step + 1
    whole_epochs = (stop_before_step - 1) // 8
    assert len(states) == (1 if whole_epochs else 0)
    assert not states or states[0].epoch == whole_epochs
    whole = train(Fleet([config], data, CPU))[config.fingerprint]
    if states:
        again = resumed(states, data)[config.fingerprint]
        assert (metrics(again.history) == metrics(whole.history)).all()
