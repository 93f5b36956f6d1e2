"""A finished run's best checkpoint as a model that predicts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from suite.data.splits import Split
from suite.declarations.config import RunConfig
from suite.declarations.predictions import Predictions
from suite.engine.checkpoint import MisfitError, RefusedError
from suite.engine.evaluation import (
    DTYPES,
    Scores,
    autocast,
    loss_and_accuracy,
    scaled,
    scored,
)
from suite.engine.fitting import require_model
from suite.engine.prediction import predictions_of
from suite.models import build
from suite.state.best_model import read_model
from suite.tracking.downloads import download_best


class TrainedModel(nn.Module):
    """The network of one run at τ_best, the epoch of its lowest val_loss.

    Attributes
    ----------
    config
        The run's configuration.
    classes
        Class names, in the order of the scores.

    Raises
    ------
    MisfitError
        If the tensors are not the network's.
    """

    def __init__(
        self,
        config: RunConfig,
        classes: tuple[str, ...],
        image_shape: tuple[int, int, int],
        tensors: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.config, self.classes, self.image_shape = config, classes, image_shape
        self.network = build(config, *image_shape, len(classes))
        require_model(tensors, config, self.network)
        self._names: dict[str, list[str]] = {"parameters": [], "buffers": []}
        for key, value in tensors.items():
            group, name = key.split("/", 1)
            self._names[group].append(name)
            self.register_buffer(_attribute(group, name), value)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores.

        Parameters
        ----------
        images
            uint8 0 to 255, or floating point 0 to 1; shape (batch, channels, height, width).

        Returns
        -------
        Tensor
            Logits, shape (batch, classes).
        """
        inputs = scaled(images, DTYPES[self.config.precision]).unsqueeze(1)
        with torch.no_grad(), autocast(self.config, images.device):
            scores = self.network.logits(
                self._group("parameters"), self._group("buffers"), inputs, training=False
            )
        return scores[:, 0].to(DTYPES[self.config.precision])

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean cross-entropy (without L2 penalty) and accuracy on a split of a data set."""
        loss, accuracy = loss_and_accuracy(self._scored(split))
        return float(loss), float(accuracy)

    def predict(self, split: Split) -> Predictions:
        """What it says of each image of a split, as a run keeps it of the test images."""
        return predictions_of(self._scored(split))

    def _scored(self, split: Split) -> Iterator[Scores]:
        groups = self._group("parameters"), self._group("buffers")
        return scored(self.network, *groups, split, self.config)

    def _group(self, group: str) -> dict[str, Tensor]:
        """The tensors of a group, with the run axis which networks expect."""
        return {
            name: self.get_buffer(_attribute(group, name)).unsqueeze(0)
            for name in self._names[group]
        }


def _attribute(group: str, name: str) -> str:
    return f"{group}:{name}".replace(".", ":")


def load(run_id: str, *, tracking_uri: str = "") -> TrainedModel:
    """The best checkpoint of a run, ready to predict.

    Parameters
    ----------
    run_id
        MLflow's id of a finished run.
    tracking_uri
        Empty takes MLflow's own default.

    Returns
    -------
    TrainedModel
        On the CPU. It gives the logged `test_accuracy` again, exactly, on the same machine.

    Raises
    ------
    mlflow.exceptions.MlflowException
        If there is no such run, or it kept no checkpoint.
    RefusedError
        If the checkpoint is damaged, or of a version that laid it out differently.
    """
    place, remedy = f"that of run {run_id}", "train the run again with --force"
    with tempfile.TemporaryDirectory(prefix="best-") as target:
        folder = download_best(run_id, Path(target), tracking_uri)
        found = read_model(folder, place, remedy)
    try:
        return TrainedModel(found.config, found.classes, found.image_shape, found.tensors)
    except MisfitError as error:
        finding = f"best checkpoint: {place} cannot be read ({error})"
        raise RefusedError(finding, remedy) from error
