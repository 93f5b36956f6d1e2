"""What a run keeps of the test images is what its returned model says, and fits its accuracy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_helpers import small_digits, small_run, train_alone, train_together

from suite.engine.runs import TrainedRun
from suite.trained_model import TrainedModel


def returned_model(run: TrainedRun) -> TrainedModel:
    assert run.parameters is not None
    tensors = {f"parameters/{name}": value for name, value in run.parameters.items()}
    tensors |= {f"buffers/{name}": value for name, value in (run.buffers or {}).items()}
    return TrainedModel(run.config, tuple("0123456789"), (1, 8, 8), tensors)


def test_a_fleet_keeps_what_each_returned_model_says_of_the_test_images() -> None:
    data = small_digits()
    runs = train_together([small_run(seed=0), small_run(seed=1, sigma_w=2.5)], data)
    for run in runs:
        found = run.predictions
        assert found is not None
        scores = returned_model(run)(data.test.images)
        shares = torch.softmax(scores.double(), -1)
        assert np.array_equal(found.predicted, shares.argmax(-1).numpy())
        assert np.array_equal(found.confidence, shares.amax(-1).numpy().astype(np.float16))
        assert np.array_equal(found.labels, data.test.labels.numpy())
        assert found.accuracy == run.summary["test_accuracy"]
        assert run.summary["test_ece"] == found.calibration_error
    first, second = (run.predictions for run in runs)
    assert first is not None
    assert second is not None
    assert first.test_set == second.test_set
    assert not np.array_equal(first.predicted, second.predicted)


def test_predictions_are_of_the_best_checkpoint_when_a_run_stops_early() -> None:
    data = small_digits()
    run = train_alone(small_run(epochs=9, learning_rate=0.5, early_stopping_patience=1), data)
    assert run.summary["best_epoch"] < run.summary["epochs_trained"] < 9
    assert run.predictions is not None
    assert run.predictions.accuracy == run.summary["test_accuracy"]


def test_the_test_nll_is_the_loss_without_keras_penalty() -> None:
    data = small_digits()
    plain = train_alone(small_run(epochs=1), data)
    assert plain.summary["test_nll"] == plain.summary["test_loss"]
    run = train_alone(small_run(epochs=1, kernel_l2=1e-2), data)
    loss, _ = returned_model(run).evaluate(data.test)
    assert run.summary["test_nll"] == pytest.approx(loss, rel=1e-12)
    assert run.summary["test_loss"] > run.summary["test_nll"]


def test_a_run_that_never_had_a_finite_loss_keeps_no_predictions() -> None:
    run = train_alone(small_run(learning_rate=1e100), small_digits())
    assert run.diverged
    assert (run.parameters, run.predictions) == (None, None)
    assert not {"test_nll", "test_ece"} & set(run.summary)
