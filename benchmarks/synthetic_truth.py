"""Made-up learning curves whose β(t) is known, in the form in which the suite records runs.

Runs that differ only in σw and seed form a cell. Within a cell,

    val_accuracy(σw, seed, t) = a(t) + β(t)·(σw − mean σw) + seed effect + noise,

so that the slope of val_accuracy on σw at epoch t estimates β(t), and runs of one seed share an
error, as real ones do. Test accuracy follows the same law at the epoch of the lowest val_loss.
Everything is a function of (Truth, RunConfig): no run's curve depends on which others are made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from suite.declarations.config import RunConfig
from suite.declarations.layers import LayerHistory, is_measured
from suite.declarations.metrics import EpochRecord, best_record, summarize
from suite.declarations.schedule import learning_rates, steps_per_epoch
from suite.models import build

Curve = NDArray[np.float64]

TEST_IMAGES = {"digits": 359, "cifar10": 10_000}
EPOCH_MILLISECONDS = 1000
IMAGE_SHAPE = {"digits": (1, 8, 8), "cifar10": (3, 32, 32)}
CLASSES = 10
LAYERS = ("stem", "block1", "block2", "head")


def trainable_parameters(config: RunConfig) -> int:
    """How many the network of a run has."""
    own = {name: getattr(config, name) for name in ("dataset", "model", "width", "norm")}
    return _trainable_parameters(RunConfig(**own))


@cache
def _trainable_parameters(recipe: RunConfig) -> int:
    network = build(recipe, *IMAGE_SHAPE[recipe.dataset], CLASSES)
    return sum(spec.size for spec in network.parameters)


@dataclass(frozen=True)
class Truth:
    """The law that all runs of a synthetic store follow.

    Attributes
    ----------
    seed
        Another seed gives every cell other curves and every run other noise.
    mean_sigma_w
        σw at which val_accuracy is a(t).
    noise
        Standard deviation of val_accuracy from epoch to epoch, and of test accuracy.
    seed_effect
        Standard deviation of the offset which a cell's runs of one seed share.
    chosen_beta
        β(t) instead of the built-in exponential decay: configuration to array (epochs,).
    """

    seed: int = 0
    mean_sigma_w: float = 1.3
    noise: float = 0.004
    seed_effect: float = 0.006
    chosen_beta: Callable[[RunConfig], Curve] | None = None
    _rates: dict[str, Curve] = field(default_factory=dict, compare=False, repr=False)

    def beta(self, config: RunConfig) -> Curve:
        """β at epochs 1, 2, …: change of val_accuracy (fraction) per unit of σw, (epochs,)."""
        if self.chosen_beta is not None:
            return self.chosen_beta(config)
        start, kept, life = self._draw(cell(config), "beta").uniform([0.06, 0, 0.1], [0.1, 0.7, 1])
        decay = np.exp(-self._epochs(config) / (life * config.epochs))
        return np.asarray(-start * (kept + (1 - kept) * decay))

    def level(self, config: RunConfig) -> Curve:
        """a(t): val_accuracy at the mean σw and no seed effect, (epochs,)."""
        final, life = self._draw(cell(config), "level").uniform([0.7, 0.05], [0.8, 0.1])
        return np.asarray(final - 0.4 * np.exp(-self._epochs(config) / (life * config.epochs)))

    def effect_of_seed(self, config: RunConfig) -> float:
        """The offset of val_accuracy and test accuracy that a cell's runs of one seed share."""
        draw = self._draw(cell(config), "seed", config.seed)
        return float(draw.normal(0, self.seed_effect))

    def expected_accuracy(self, config: RunConfig) -> Curve:
        """val_accuracy without its noise, (epochs,)."""
        slope = self.beta(config) * (config.sigma_w - self.mean_sigma_w)
        return self.level(config) + slope + self.effect_of_seed(config)

    def _epochs(self, config: RunConfig) -> Curve:
        return np.arange(1, config.epochs + 1, dtype=np.float64)

    def _draw(self, *purpose: object) -> np.random.Generator:
        text = json.dumps([self.seed, *map(str, purpose)])
        return np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:16], 16))

    def _learning_rate(self, config: RunConfig) -> Curve:
        """The rate of each epoch's last step; a main grid has few different schedules."""
        key = f"{cell(config)}"
        if key not in self._rates:
            steps = steps_per_epoch(config, train_images(config))
            self._rates[key] = learning_rates(config, train_images(config))[steps - 1 :: steps]
        return self._rates[key]


def cell(config: RunConfig) -> str:
    """What the runs of one cell share: all of their identity but σw and seed."""
    shared = {k: v for k, v in config.identity().items() if k not in ("sigma_w", "seed")}
    return json.dumps(shared, sort_keys=True)


def train_images(config: RunConfig) -> int:
    """Images of the training split."""
    images = config.training_part or 0
    return round((images - validation_images(config)) * config.train_fraction)


def validation_images(config: RunConfig) -> int:
    """Images of the validation split."""
    return round((config.training_part or 0) * config.validation_fraction)


@dataclass(frozen=True)
class SyntheticRun:
    """One run as it would have been recorded.

    Attributes
    ----------
    start
        Milliseconds since 1970.
    diverges
        The loss is no number at half of the epochs, and the run ends there.
    """

    config: RunConfig
    truth: Truth
    start: int
    diverges: bool = False

    @cached_property
    def history(self) -> list[EpochRecord]:
        """The run's epochs up to its end, early stop or divergence."""
        columns = self._columns()
        last = self._last_epoch(columns["val_loss"])
        if self.diverges:
            last = max(1, self.config.epochs // 2)
            columns["train_loss"][last - 1] = columns["val_loss"][last - 1] = np.nan
            columns["kernel_norm"][last - 1] = np.inf
        rows = zip(*(column[:last].tolist() for column in columns.values()), strict=True)
        return [
            EpochRecord(
                epoch,
                self.start + epoch * EPOCH_MILLISECONDS,
                **dict(zip(columns, row, strict=True)),
            )
            for epoch, row in enumerate(rows, start=1)
        ]

    @property
    def layers(self) -> LayerHistory | None:
        """A head that forgets eight times as fast as the stem; None for one run in eight."""
        if int(self.config.fingerprint, 16) % 8 == 1:  # of a version that measured no layers
            return None
        found = LayerHistory(LAYERS)
        speed = np.geomspace(1, 8, len(LAYERS)) / (self.config.epochs * self.config.sigma_w)
        last = len(self.history)
        for epoch in (0, *(e for e in range(1, last + 1) if is_measured(e, last))):
            cosines = np.exp(-epoch * speed)
            norms = self.config.sigma_w * (2 - cosines)
            found = found.with_epoch(epoch, norms.tolist(), cosines.tolist())
        return found

    def _columns(self) -> dict[str, Curve]:
        config, truth = self.config, self.truth
        time = truth._epochs(config) / config.epochs
        draw = truth._draw("run", config.fingerprint)
        # Interpolation comes later at larger σw, and never at the largest.
        unfitted = np.exp(-12 * time / (0.5 + config.sigma_w))
        lowest = truth._draw(cell(config), "best").uniform(0.5, 0.9)
        norm = 400 + ((60 * config.sigma_w) ** 2 - 400) * np.exp(-time)
        return {
            "train_loss": 2.3 * unfitted,
            "train_accuracy": 1 - 0.9 * unfitted,
            "val_loss": 0.6 + (time - lowest) ** 2 + draw.normal(0, 0.002, config.epochs),
            "val_accuracy": truth.expected_accuracy(config)
            + draw.normal(0, truth.noise, config.epochs),
            "kernel_norm": np.sqrt(norm),
            "learning_rate": truth._learning_rate(config).copy(),
        }

    def _last_epoch(self, val_loss: Curve) -> int:
        patience = self.config.early_stopping_patience
        if not patience:
            return self.config.epochs
        lowest = np.minimum.accumulate(val_loss)
        since_best = np.arange(len(val_loss)) - np.searchsorted(-lowest, -lowest)
        stops = np.flatnonzero(since_best >= patience)
        return int(stops[0]) + 1 if len(stops) else self.config.epochs

    @property
    def summary(self) -> dict[str, float]:
        """The run's summary metrics; without a best epoch there is no test accuracy."""
        summary = summarize(self.history) | self._clocks()
        summary["kernel_norm_initial"] = 60 * self.config.sigma_w
        summary["trainable_parameters"] = float(trainable_parameters(self.config))
        best = best_record(self.history)
        if best is not None:
            noise = self.truth._draw("test", self.config.fingerprint).normal(0, self.truth.noise)
            expected = self.truth.expected_accuracy(self.config)[best.epoch - 1]
            summary |= {"test_accuracy": float(expected + noise), "test_loss": best.val_loss}
        return summary

    def _clocks(self) -> dict[str, float]:
        """The three clocks at the last epoch, with the rate held over an epoch."""
        steps = steps_per_epoch(self.config, train_images(self.config))
        rates = np.array([record.learning_rate for record in self.history])
        adapt = float(steps * rates.sum())
        return {
            "clock_sgd": float(steps * (rates**2).sum() / self.config.batch_size),
            "clock_l2": self.config.kernel_l2 * adapt,
            "clock_adapt": adapt,
        }
