"""The names of all logged numbers, with unit and definition: declared here and nowhere else.

Per-epoch metrics have the epoch (1, 2, …) as their MLflow step. Accuracies are fractions, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

INTERPOLATION_THRESHOLD = 0.995  # Das et al. 2026, §2


@dataclass(frozen=True)
class Metric:
    """A logged number: its name in MLflow, unit and definition."""

    name: str
    unit: str
    definition: str


EPOCH_METRICS = (
    Metric(
        "train_loss", "nats", "running average over the epoch's batches, penalty as in val_loss"
    ),
    Metric("train_accuracy", "fraction", "running average over the epoch's batches"),
    Metric("val_loss", "nats", "cross-entropy at the epoch's end; keras semantics add λΣw²"),
    Metric("val_accuracy", "fraction", "at the epoch's end, normalization in inference mode"),
    Metric("kernel_norm", "1", "Frobenius norm of all trainable convolution and dense kernels"),
    Metric("learning_rate", "per step", "rate of the epoch's last step"),
)
EPOCH_METRIC_NAMES = tuple(metric.name for metric in EPOCH_METRICS)

SUMMARY_METRICS = (
    Metric("test_accuracy", "fraction", "of the checkpoint with the lowest val_loss"),
    Metric("test_loss", "nats", "of the checkpoint with the lowest val_loss; as val_loss"),
    Metric("test_nll", "nats", "cross-entropy of that checkpoint, without any penalty"),
    Metric(
        "test_ece",
        "fraction",
        "its expected calibration error: top class, 15 equal bins, from the kept predictions",
    ),
    Metric("best_epoch", "epoch", "τ_best: epoch of the lowest val_loss; the earliest wins a tie"),
    Metric(
        "interpolation_epoch",
        "epoch",
        "τ_interp: first epoch with train_accuracy ≥ 99.5 %; absent if never",
    ),
    Metric("repair_gap", "fraction", "val_accuracy at τ_best minus at τ_interp; absent if never"),
    Metric("kernel_norm_initial", "1", "kernel_norm before the first step"),
    Metric("kernel_norm_best", "1", "kernel_norm at τ_best"),
    Metric("epochs_trained", "epochs", "epochs until the end, early stop or divergence"),
    Metric("trainable_parameters", "1", "number of trainable parameters of the network"),
    Metric("clock_sgd", "1", "T_SGD = (1/b) Σ η² at the run's end"),
    Metric("clock_l2", "1", "T_L2 = λ Σ η at the run's end"),
    Metric("clock_adapt", "1", "T_adapt = Σ η at the run's end"),
)
SUMMARY_METRIC_NAMES = tuple(metric.name for metric in SUMMARY_METRICS)


@dataclass(frozen=True)
class EpochRecord:
    """What one run measured in one epoch; the metric fields are those of `EPOCH_METRICS`.

    Attributes
    ----------
    epoch
        1, 2, ….
    timestamp
        Milliseconds since 1970, when the epoch ended. It travels with the record, so that
        logging it a second time after a crash repeats the same row instead of adding one.
    """

    epoch: int
    timestamp: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    kernel_norm: float
    learning_rate: float

    def metrics(self) -> dict[str, float]:
        """Metric name to value."""
        return {name: getattr(self, name) for name in EPOCH_METRIC_NAMES}


def summarize(history: list[EpochRecord]) -> dict[str, float]:
    """The summary metrics which follow from a run's history alone.

    Parameters
    ----------
    history
        The run's epochs in order, at least one.

    Returns
    -------
    dict
        `best_epoch`, `kernel_norm_best`, `epochs_trained`, and, where the run interpolates,
        `interpolation_epoch` and `repair_gap` (Das et al. 2026, §2). Without any finite
        val_loss there is no best epoch, and what depends on it is absent.
    """
    summary: dict[str, float] = {"epochs_trained": history[-1].epoch}
    best = best_record(history)
    fitted = (r for r in history if r.train_accuracy >= INTERPOLATION_THRESHOLD)
    interpolation = next(fitted, None)
    if best is not None:
        summary |= {"best_epoch": best.epoch, "kernel_norm_best": best.kernel_norm}
    if interpolation is not None:
        summary["interpolation_epoch"] = interpolation.epoch
    if best is not None and interpolation is not None:
        summary["repair_gap"] = best.val_accuracy - interpolation.val_accuracy
    return summary


def best_record(history: list[EpochRecord]) -> EpochRecord | None:
    """The record of the lowest finite val_loss, the earliest of equals; None if there is none."""
    best = None
    for record in history:
        if record.val_loss < (float("inf") if best is None else best.val_loss):
            best = record
    return best


assert {field.name for field in fields(EpochRecord)} == {"epoch", "timestamp", *EPOCH_METRIC_NAMES}
