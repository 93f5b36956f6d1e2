"""Runs that train together do what they do alone, whatever happens to their company."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from training_helpers import (
    CPU,
    assert_same_run,
    metrics,
    small_digits,
    small_run,
    train,
    train_alone,
    train_together,
)

from suite.data.splits import ImageData, Split
from suite.declarations.clocks import clocks
from suite.declarations.config import ConfigError
from suite.engine import training_step
from suite.engine.evaluation import evaluate
from suite.engine.fleet import Fleet
from suite.engine.preparation import check
from suite.engine.runs import TrainedRun

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "muon_keras", "muon", "lion")
# σw, seed, η0, λ
COMPANY = [
    (0.3, 0, 3e-3, 0.0),
    (1.0, 1, 1e-2, 0.0),
    (2.5, 0, 1e-3, 1e-2),
    (0.3, 7, 3e-2, 5e-2),
    (1.7, 2, 1e-2, 1e-3),
]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return small_digits()


def company(**common: Any) -> list[Any]:
    return [
        small_run(sigma_w=sigma_w, seed=seed, learning_rate=rate, kernel_l2=strength, **common)
        for sigma_w, seed, rate, strength in COMPANY
    ]


def assert_company_does_not_matter(configs: list[Any], data: ImageData) -> None:
    together = train_together(configs, data)
    for config, ours in zip(configs, together, strict=True):
        assert_same_run(ours, train_alone(config, data))
    assert len({run.history[-1].val_loss for run in together}) == len(configs)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fleet_of_five_is_five_fleets_of_one(optimizer: str, norm: str, data: ImageData) -> None:
    # Over two channels layer normalization is nearly a sign function, and amplifies rounding.
    width = 2 if norm == "batch" else 4
    few = replace(data, train=Split(data.train.images[:27], data.train.labels[:27]))
    configs = company(optimizer=optimizer, norm=norm, width=width, batch_size=4, epochs=2)
    assert_company_does_not_matter(configs, few)  # 14 steps


@pytest.mark.parametrize(
    "common",
    [
        {"semantics": "torch", "optimizer": "momentum"},
        {"semantics": "torch", "optimizer": "muon", "norm": "layer", "width": 4},
        {"model": "r9-avgpool", "schedule": "constant", "augmentation": "flip-crop"},
        {"model": "resnet56", "epochs": 1},
    ],
    ids=str,
)
def test_company_does_not_matter_elsewhere(common: dict[str, Any], data: ImageData) -> None:
    assert_company_does_not_matter(company(**common)[1:4], data)


def test_company_does_not_matter_to_a_timm_model(data: ImageData) -> None:
    configs = company(model="timm/test_resnet", epochs=1, precision="fp64", batch_size=29)[2:4]
    assert_company_does_not_matter(configs, data)


@pytest.fixture(scope="module")
def alone(data: ImageData) -> list[TrainedRun]:
    """Each run of a company by itself."""
    return [train_alone(config, data) for config in company(epochs=4)]


@pytest.mark.parametrize("place", [0, 2])
def test_a_run_that_diverges_leaves_the_others_as_they_are(
    place: int, data: ImageData, alone: list[TrainedRun]
) -> None:
    configs = company(epochs=4)
    wild = small_run(epochs=4, learning_rate=1e6, seed=5)
    configs.insert(place, wild)
    training = Fleet(configs, data, CPU)
    epochs = training.epochs()
    first = next(epochs)
    after_first = training.states()[place]
    ended = {r.config.fingerprint: r for o in (first, *epochs) for r in o.ended}
    together = [ended[config.fingerprint] for config in configs]
    diverged = together.pop(place)
    for ours, theirs in zip(together, alone, strict=True):
        assert_same_run(ours, theirs)
        assert not ours.diverged
    assert diverged.diverged
    # Finite after the first epoch, of which the checkpoint is, and then no more.
    assert [math.isfinite(record.train_loss) for record in diverged.history] == [True, False]
    assert diverged.history[:1] == after_first.history
    assert (diverged.summary["best_epoch"], diverged.summary["epochs_trained"]) == (1, 2)
    for kept, group in ((diverged.parameters, "parameters"), (diverged.buffers, "buffers")):
        torch.testing.assert_close(kept, after_first.tensors[group], rtol=0, atol=0)


def test_a_run_that_diverges_at_once_has_no_checkpoint(data: ImageData) -> None:
    calm, wild = (
        small_run(precision="fp32", learning_rate=rate, epochs=2) for rate in (1e-3, 1e30)
    )
    ours, diverged = train_together([calm, wild], data)
    assert diverged.diverged
    assert len(diverged.history) == 1
    assert diverged.parameters is None
    assert "best_epoch" not in diverged.summary
    assert not any("test" in name for name in diverged.summary)
    assert_same_run(ours, train_alone(calm, data), tolerance=1e-4)


def test_patience_counts_from_the_best_epoch_and_leaves_schedule_and_company_alone(
    data: ImageData,
) -> None:
    # Each one's η0, seed, epoch of its end, and best epoch by then.
    runs = [(0.01, 3, 5, 1), (0.003, 0, 10, 10), (0.003, 3, 8, 4)]
    runs += [(0.001, 1, 7, 3), (0.005, 2, 10, 10)]
    configs = [
        small_run(
            optimizer="momentum", epochs=10, early_stopping_patience=4, learning_rate=rate, seed=s
        )
        for rate, s, _, _ in runs
    ]
    stopped = train_together(configs, data)
    patient = train_together([c.with_(early_stopping_patience=0) for c in configs], data)
    for (_, _, end, best), ours, whole in zip(runs, stopped, patient, strict=True):
        assert [len(ours.history), ours.summary["best_epoch"]] == [end, best]
        assert len(whole.history) == 10
        assert_allclose(metrics(ours.history), metrics(whole.history)[:end], rtol=1e-9)
        losses = [record.val_loss for record in whole.history]
        assert losses.index(min(losses[:end])) + 1 == best
        assert not ours.diverged
    assert_same_run(stopped[2], train_alone(configs[2], data))


def test_epochs_are_reported_under_the_run_they_belong_to(data: ImageData) -> None:
    configs = company(epochs=2)
    outcomes = list(Fleet(configs, data, CPU).epochs())
    assert [len(outcome.ended) for outcome in outcomes] == [0, len(configs)]
    for run in outcomes[-1].ended:
        reported = [outcome.records[run.config.fingerprint] for outcome in outcomes]
        assert run.history == reported
        assert run.history[0].timestamp <= run.history[1].timestamp


def test_checkpoint_is_of_the_lowest_val_loss_and_gives_the_test_metrics_again(
    data: ImageData,
) -> None:
    config = small_run(optimizer="momentum", epochs=5, learning_rate=0.001, seed=1, kernel_l2=1e-3)
    training = Fleet([config], data, CPU)
    kept = []
    for outcome in training.epochs():
        if not outcome.ended:
            kept.append(training.states()[0])
    (run,) = outcome.ended
    losses = [record.val_loss for record in run.history]
    best = losses.index(min(losses))
    assert 0 < best < 4
    assert run.summary["best_epoch"] == best + 1
    assert run.parameters is not None
    assert run.buffers is not None
    expected = kept[best].tensors
    torch.testing.assert_close(run.parameters, expected["parameters"], rtol=0, atol=0)
    torch.testing.assert_close(run.buffers, expected["buffers"], rtol=0, atol=0)
    one = [{n: v[None] for n, v in part.items()} for part in (run.parameters, run.buffers)]
    loss, accuracy = evaluate(training.network, *one, data.test, config)
    kernels = [v for name, v in run.parameters.items() if name.endswith("kernel")]
    square_sum = sum(float((kernel**2).sum()) for kernel in kernels)
    assert run.summary["test_loss"] == pytest.approx(float(loss) + 1e-3 * square_sum, rel=1e-12)
    assert run.summary["test_accuracy"] == float(accuracy)
    assert run.summary["kernel_norm_best"] == pytest.approx(square_sum**0.5, rel=1e-12)


def test_summary_has_the_initial_norm_and_the_clocks_at_the_runs_own_end(data: ImageData) -> None:
    config = small_run(epochs=4, learning_rate=1e6, kernel_l2=1e-2)
    run = train_alone(config, data)
    last = len(run.history)
    assert last < 4
    elapsed = clocks(config, len(data.train))
    for name, series in (("sgd", elapsed.sgd), ("l2", elapsed.l2), ("adapt", elapsed.adapt)):
        assert run.summary[f"clock_{name}"] == series[last - 1]
    (state,) = Fleet([config], data, CPU).states()
    kernels = [v for n, v in state.tensors["parameters"].items() if n.endswith("kernel")]
    norm = math.sqrt(sum(float((kernel**2).sum()) for kernel in kernels))
    assert run.summary["kernel_norm_initial"] == pytest.approx(norm, rel=1e-12)
    numbers = sum(value.numel() for value in state.tensors["parameters"].values())
    assert run.summary["trainable_parameters"] == numbers


def test_learning_rate_is_that_of_the_epochs_last_step(data: ImageData) -> None:
    configs = [small_run(learning_rate=rate) for rate in (1e-3, 0.04)]
    for config, run in zip(configs, train_together(configs, data), strict=True):
        for epoch, record in enumerate(run.history, start=1):
            cosine = 0.5 * (1 + math.cos(math.pi * (8 * epoch - 1) / 24))
            expected = config.learning_rate * (0.01 + 0.99 * cosine)
            assert record.learning_rate == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("augmentation", ["none", "flip-crop"])
def test_images_kept_as_bytes_give_the_same_run(
    augmentation: str, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_run(precision="fp32", augmentation=augmentation, epochs=2)
    floats = train_alone(config, data)
    monkeypatch.setattr(training_step, "FLOAT_DATA_LIMIT", 0)
    trained = Fleet([config], data, CPU)
    assert trained.step.images.dtype == torch.uint8
    assert_same_run(train(trained)[config.fingerprint], floats, tolerance=0)


def test_lion_leaves_a_bias_before_batch_normalization_where_it_was(data: ImageData) -> None:
    """Its gradient is 0; were it rounding, then Lion would make whole steps of it."""
    config = small_run(optimizer="lion", weight_decay=0, learning_rate=1e-2, epochs=1)
    before = Fleet([config], data, CPU).states()[0].tensors["parameters"]
    after = train_alone(config, data).parameters
    assert after is not None
    biases = [name for name in before if name.endswith(".bias") and name != "head.bias"]
    assert len(biases) == 8
    for name in biases:
        assert torch.equal(after[name], before[name])
    assert not torch.equal(after["head.bias"], before["head.bias"])


def test_lion_does_not_hide_that_a_run_diverges(data: ImageData) -> None:
    config = small_run(optimizer="lion", epochs=2, precision="fp32")
    trained = Fleet([config], data, CPU)
    trained.optimizer.moments["first"][0] = float("nan")
    ended = train(trained)[config.fingerprint]
    assert ended.diverged


def test_runs_in_bfloat16_stay_finite_and_near_single_precision(data: ImageData) -> None:
    for common in ({"norm": "batch", "optimizer": "muon"}, {"norm": "layer"}):
        fixed = {"learning_rate": 1e-3, "width": 4, "epochs": 2} | common
        rough, fine = (
            train_alone(small_run(precision=precision, **fixed), data)
            for precision in ("bf16", "fp32")
        )
        assert rough.parameters is not None
        assert all(value.dtype == torch.float32 for value in rough.parameters.values())
        ours, theirs = metrics(rough.history)[:, [0, 2]], metrics(fine.history)[:, [0, 2]]
        assert_allclose(ours, theirs, rtol=0.05)
        assert not (ours == theirs).any()


def test_runs_that_differ_in_more_than_a_fleet_can_hold_are_refused(data: ImageData) -> None:
    with pytest.raises(ValueError, match=r"may differ only in sigma_w, sigma_b, .*seed"):
        Fleet([small_run(), small_run(optimizer="adam")], data, CPU)


def test_batch_larger_than_the_data_is_answered_in_one_line(data: ImageData) -> None:
    with pytest.raises(ConfigError) as error:
        check(small_run(batch_size=59), data)
    assert str(error.value) == (
        "batch_size: must not exceed the 58 training images, got 59; give 58 or less"
    )
    check(small_run(batch_size=58), data)


def test_last_batch_of_one_image_is_refused_only_where_it_has_no_variance(data: ImageData) -> None:
    line = (
        "batch_size: BatchNorm needs two images or more in every batch, "
        "got 19, which leaves a last batch of 1 of 58; give 20"
    )
    for model in ("resnet9", "timm/test_resnet"):
        with pytest.raises(ConfigError) as error:
            check(small_run(batch_size=19, model=model), data)
        assert str(error.value) == line
    check(small_run(batch_size=20), data)
    for changes in ({"norm": "layer"}, {"model": "timm/convnext_atto"}):
        check(small_run(batch_size=19, **changes), data)
    with pytest.raises(ConfigError, match=r"got 1, which leaves a last batch of 1 of 58; give 2$"):
        check(small_run(batch_size=1), data)
    seven = replace(data, train=Split(data.train.images[:7], data.train.labels[:7]))
    with pytest.raises(ConfigError, match=r"got 2, which leaves a last batch of 1 of 7; give 4$"):
        check(small_run(batch_size=2), seven)


def test_reflection_wider_than_the_image_is_refused_in_one_line(data: ImageData) -> None:
    def cropped(side: int) -> ImageData:
        part = Split(data.train.images[..., :side], data.train.labels)
        return replace(data, train=part)

    config = small_run(augmentation="flip-crop", model="timm/test_resnet")
    with pytest.raises(ConfigError) as error:
        check(config, cropped(4))
    assert str(error.value) == (
        "augmentation: a 4-pixel reflection needs larger images, got 8×4; set augmentation=none"
    )


def test_images_too_small_for_the_architecture_are_refused_before_training(
    data: ImageData,
) -> None:
    part = Split(data.train.images[..., :7, :7], data.train.labels)
    with pytest.raises(ConfigError, match=r"^model: resnet9 takes images of 8×8 or more, got 7×7"):
        Fleet([small_run()], replace(data, train=part), CPU)
