"""Each layer's norm and cosine to its initial weights."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from training_helpers import CPU, assert_same_layers, small_digits, small_run, train, train_alone

from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.declarations.layers import LAYERS_TAGS, MOST_LAYERS, LayerHistory, layers_tags
from suite.engine.checkpoint import MisfitError, RunState, load, save
from suite.engine.fitting import require_fit
from suite.engine.fleet import Fleet
from suite.engine.kernel_record import KernelRecord
from suite.engine.layout import Layout
from suite.engine.runs import TrainedRun
from suite.models import build
from suite.models.initialization import initial_parameter
from suite.models.specs import ParameterSpec

SHAPES = {"stem": (4, 3), "block": (2, 4, 5), "head": (6,)}
SPECS = [ParameterSpec(name, shape, "kernel", fan_in=1) for name, shape in SHAPES.items()]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return small_digits()


def record(starts: list[dict[str, torch.Tensor]]) -> KernelRecord:
    layout = Layout(SPECS, len(starts))
    return KernelRecord(list(SHAPES), layout, layout.pack(starts, starts[0]["stem"]))


def drawn(seed: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator, dtype=dtype) for n, s in SHAPES.items()}


def after(found: KernelRecord, runs: list[dict[str, torch.Tensor]]) -> list[LayerHistory]:
    flat = found.layout.pack(runs, runs[0]["stem"])
    found.measure(1, 1, flat)
    return found.histories


# --- closed forms ---
def test_at_the_start_the_cosine_is_1_and_the_norm_that_of_the_initial_kernel() -> None:
    starts = [drawn(0), drawn(1)]
    for start, history in zip(starts, record(starts).histories, strict=True):
        assert history.epochs == (0,)
        assert_allclose(history.cosines[0], 1.0, rtol=1e-7)
        expected = [float(torch.linalg.norm(start[name])) for name in SHAPES]
        assert_allclose(history.norms[0], expected, rtol=1e-7)


def test_kernels_that_only_shrink_keep_the_cosine_and_the_other_run_is_not_touched() -> None:
    starts = [drawn(0), drawn(1)]
    shrunk = {name: 0.2 * value for name, value in starts[0].items()}
    history, other = after(record(starts), [shrunk, starts[1]])
    assert_allclose(history.cosines[1], 1.0, rtol=1e-7)
    assert_allclose(history.norms[1], 0.2 * np.array(history.norms[0]), rtol=1e-6)
    assert other.norms[1] == other.norms[0]


def test_orthogonal_kernels_have_cosine_0_and_turned_ones_that_of_the_angle() -> None:
    start, other, angle = drawn(0), drawn(1), 0.7
    orthogonal, turned = {}, {}
    for name, w in start.items():
        rest = other[name] - w * (other[name] * w).sum() / w.square().sum()
        orthogonal[name] = rest
        turned[name] = math.cos(angle) * w + math.sin(angle) * rest * (w.norm() / rest.norm())
    found = after(record([start, start]), [orthogonal, turned])
    assert_allclose(found[0].cosines[1], 0.0, atol=1e-15)
    assert_allclose(found[1].cosines[1], math.cos(angle), rtol=1e-7)
    assert_allclose(found[1].norms[1], found[1].norms[0], rtol=1e-6)


def test_a_kernel_that_is_0_has_no_cosine() -> None:
    start = drawn(0)
    (history,) = after(record([start]), [start | {"block": torch.zeros(SHAPES["block"])}])
    assert history.norms[1][1] == 0
    assert np.isnan(history.cosines[1]).tolist() == [False, True, False]


def test_single_precision_is_exact_to_its_rounding_at_a_million_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 1_000_000, generator=generator)
    end = start + 0.5 * end
    layout = Layout([ParameterSpec("wide", (1_000_000,), "kernel", fan_in=1)], 1)
    found = KernelRecord(["wide"], layout, start)
    found.measure(1, 1, end)
    exact = torch.nn.functional.cosine_similarity(start.double(), end.double(), dim=0)
    (history,) = found.histories
    assert_allclose(history.cosines[1][0], float(exact), rtol=4e-7)
    assert_allclose(history.norms[1][0], float(end.double().norm()), rtol=4e-7)


# --- in training ---
def kernels_of(state: RunState) -> dict[str, torch.Tensor]:
    network = build(state.config, 1, 8, 8, 10)
    specs = [spec for spec in network.parameters if spec.kind == "kernel"]
    return {spec.name: state.tensors["parameters"][spec.name].double() for spec in specs}


def initial_of(config: RunConfig) -> dict[str, torch.Tensor]:
    network = build(config, 1, 8, 8, 10)
    kernels = [spec for spec in network.parameters if spec.kind == "kernel"]
    return {s.name: initial_parameter(config, s, torch.float32).double() for s in kernels}


@pytest.mark.parametrize(
    "changes", [{"optimizer": "muon"}, {"model": "timm/test_resnet"}, {"kernel_l2": 0.01}]
)
def test_a_fleet_measures_what_a_loop_over_each_runs_kernels_finds(
    changes: dict[str, Any], data: ImageData
) -> None:
    common = {"precision": "fp32", "epochs": 5, **changes}
    configs = [small_run(sigma_w=2.0, seed=0, **common), small_run(seed=1, **common)]
    fleet = Fleet(configs, data, CPU)
    for _, outcome in zip(range(3), fleet.epochs(), strict=False):
        assert not outcome.ended
    for state in fleet.states():
        assert state.layers is not None
        assert state.layers.epochs == (0, 1, 2, 3)
        now, start = kernels_of(state), initial_of(state.config)
        assert state.layers.layers == tuple(now)
        norms = [float(w.square().sum().sqrt()) for w in now.values()]
        assert_allclose(state.layers.norms[-1], norms, rtol=1e-6)
        products = [float((w * start[name]).sum() / start[name].norm()) for name, w in now.items()]
        assert_allclose(state.layers.cosines[-1], np.divide(products, norms), atol=1e-6)
        # What all kernels together have is logged, too.
        total = float(np.sqrt(np.square(state.layers.norms[-1]).sum()))
        assert_allclose(total, state.history[-1].kernel_norm, rtol=1e-6)


def test_the_best_and_the_last_epoch_are_measured_wherever_they_lie(data: ImageData) -> None:
    config = small_run(epochs=40, optimizer="momentum", early_stopping_patience=2, seed=3)
    run = train_alone(config, data)
    best, last = int(run.summary["best_epoch"]), len(run.history)
    assert last < 40
    assert run.layers is not None
    assert {0, 1, 2, best, last} <= set(run.layers.epochs)
    for epoch, norms in zip(run.layers.epochs[1:], run.layers.norms[1:], strict=True):
        total = np.sqrt(np.square(norms).sum())
        assert_allclose(total, run.history[epoch - 1].kernel_norm, rtol=1e-6)


def test_a_run_that_diverges_keeps_what_was_measured(data: ImageData) -> None:
    run = train_alone(small_run(learning_rate=1e30), data)
    assert run.diverged
    assert run.layers is not None
    assert run.layers.epochs[-1] == len(run.history)
    assert not np.isfinite(run.layers.cosines[-1]).all()


def without_layers(configs: list[RunConfig], data: ImageData, folder: Path) -> list[RunState]:
    """What an earlier version left after one epoch."""
    fleet = Fleet(configs, data, CPU)
    next(fleet.epochs())
    states = []
    for state in fleet.states():
        path = folder / state.config.fingerprint
        save(replace(state, layers=None), path)
        read = load(path)
        assert read is not None
        assert read.layers is None
        states.append(read)
    return states


def test_a_run_of_an_earlier_version_is_measured_from_where_it_goes_on(
    data: ImageData, tmp_path: Path
) -> None:
    configs = [small_run(seed=seed) for seed in (0, 1)]
    whole = train(Fleet(configs, data, CPU))
    lines: list[str] = []
    states = without_layers(configs, data, tmp_path)
    resumed = train(Fleet(configs, data, CPU, states=states, notify=lines.append))
    assert [line for line in lines if "trained 1 epochs without measuring each layer" in line]
    assert len(lines) == 1
    for fingerprint, run in resumed.items():
        theirs = whole[fingerprint]
        assert run.summary == theirs.summary
        assert theirs.layers is not None
        left = [place for place, epoch in enumerate(theirs.layers.epochs) if epoch != 1]
        expected = LayerHistory(
            theirs.layers.layers,
            *(
                tuple(part[place] for place in left)
                for part in (theirs.layers.epochs, theirs.layers.norms, theirs.layers.cosines)
            ),
        )
        assert_same_layers(_but_epoch_1(run), expected, 0)


def _but_epoch_1(run: TrainedRun) -> LayerHistory:
    """The best checkpoint may be the very epoch that was not measured then."""
    assert run.layers is not None
    rows = zip(run.layers.epochs, run.layers.norms, run.layers.cosines, strict=True)
    epochs, norms, cosines = zip(*(row for row in rows if row[0] != 1), strict=True)
    return LayerHistory(run.layers.layers, epochs, norms, cosines)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (
            LayerHistory(("another",)),
            "must be the 9 kernels of the present layout, got 1, 'another'",
        ),
        (None, "must be of epochs up to 1, got 9"),
    ],
)
def test_a_state_whose_layers_are_not_the_runs_is_refused(
    layers: LayerHistory | None, reason: str, data: ImageData
) -> None:
    config = small_run()
    fleet = Fleet([config], data, CPU)
    next(fleet.epochs())
    (state,) = fleet.states()
    assert state.layers is not None
    count = len(state.layers.layers)
    state.layers = layers or state.layers.with_epoch(9, [1.0] * count, [1.0] * count)
    with pytest.raises(MisfitError, match=reason):
        require_fit(state, config, build(config, 1, 8, 8, 10))


def test_mlflow_can_take_the_layers_of_every_network_that_is_measured() -> None:
    history = LayerHistory(tuple(f"stages.3.blocks.12.layer.{n}" for n in range(MOST_LAYERS)))
    for epoch in range(30):  # two an octave up to 8,000 epochs, the start, the best and the last
        history = history.with_epoch(epoch, [1 / 3] * MOST_LAYERS, [1 / 3] * MOST_LAYERS)
    assert len("".join(layers_tags(history).values())) == len(history.to_text())
    assert len(layers_tags(history)) <= len(LAYERS_TAGS)
