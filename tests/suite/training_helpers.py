"""Small runs on few images, and how two runs are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from suite.data.splits import ImageData, Split, load
from suite.declarations.config import RunConfig, parse
from suite.declarations.layers import LayerHistory
from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.engine.fleet import Fleet
from suite.engine.runs import TrainedRun

CPU = torch.device("cpu")


def small_digits() -> ImageData:
    """58 training images, so eight batches of 8, the last of 2; 60 for validation and for test."""
    data = load("digits", None, train_fraction=0.05)
    validation, test = (
        Split(part.images[:60], part.labels[:60]) for part in (data.validation, data.test)
    )
    return replace(data, validation=validation, test=test)


def small_run(**changes: Any) -> RunConfig:
    """A ResNet-9 of width 2 on `small_digits`, for three epochs in double precision."""
    fixed = {"width": 2, "batch_size": 8, "epochs": 3, "precision": "fp64"}
    if str(changes.get("model", "")).startswith(("timm/", "vit")):
        del fixed["width"]
    return parse(fixed | changes)


def train(fleet: Fleet) -> dict[str, TrainedRun]:
    """Fingerprint to finished run, once every run has ended."""
    ended = [run for outcome in fleet.epochs() for run in outcome.ended]
    assert len({run.config.fingerprint for run in ended}) == len(ended)
    return {run.config.fingerprint: run for run in ended}


def train_together(configs: Sequence[RunConfig], data: ImageData) -> list[TrainedRun]:
    ended = train(Fleet(configs, data, CPU))
    return [ended[config.fingerprint] for config in configs]


def train_alone(config: RunConfig, data: ImageData) -> TrainedRun:
    (run,) = train_together([config], data)
    return run


def metrics(history: Iterable[EpochRecord]) -> np.ndarray[Any, Any]:
    """Shape (epochs, metrics): all that a history says, but for the time of day."""
    rows = [record.metrics() for record in history]
    return np.array([[row[name] for name in EPOCH_METRIC_NAMES] for row in rows])


def assert_same_run(ours: TrainedRun, theirs: TrainedRun, tolerance: float = 1e-9) -> None:
    """Equal history, summary and best checkpoint; to the last bit with `tolerance` 0."""
    assert (ours.config, ours.diverged) == (theirs.config, theirs.diverged)
    assert [r.epoch for r in ours.history] == [r.epoch for r in theirs.history]
    close: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
    assert_allclose(metrics(ours.history), metrics(theirs.history), **close)
    assert set(ours.summary) == set(theirs.summary)
    for name, value in theirs.summary.items():
        assert_allclose(ours.summary[name], value, **close, err_msg=name)
    assert_close(ours.parameters, theirs.parameters, **close)
    assert_close(ours.buffers, theirs.buffers, **close)
    assert_same_layers(ours.layers, theirs.layers, tolerance)


def assert_same_layers(
    ours: LayerHistory | None, theirs: LayerHistory | None, tolerance: float
) -> None:
    """Equal but for the rounding to single precision, or to the last bit with `tolerance` 0."""
    assert ours is not None
    assert theirs is not None
    assert (ours.layers, ours.epochs) == (theirs.layers, theirs.epochs)
    rounding = max(tolerance, 2e-7) if tolerance else 0
    assert_allclose(ours.norms, theirs.norms, rtol=rounding)
    assert_allclose(ours.cosines, theirs.cosines, rtol=rounding, atol=rounding)
