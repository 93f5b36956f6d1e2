"""What one run predicts on a split, image by image, in the form in which it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from suite.declarations.predictions import Predictions, class_type
from suite.engine.evaluation import scored
from suite.models.specs import Network

if TYPE_CHECKING:
    from suite.data.splits import Split
    from suite.declarations.config import RunConfig


def predict(
    network: Network,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    split: Split,
    config: RunConfig,
) -> Predictions:
    """The predictions of one run, from the same scores as :func:`suite.engine.evaluation.evaluate`.

    Parameters
    ----------
    network, parameters, buffers
        The architecture and the run's numbers, name to (1, …).
    split
        As in `evaluate`.
    config
        The run.
    """
    predicted, confidence = [], []
    for scores, _ in scored(network, parameters, buffers, split, config):
        predicted.append(scores[:, 0].argmax(-1))
        confidence.append(scores[:, 0].double().softmax(-1).amax(-1))
    classes = scores.shape[-1]
    kind = class_type(classes)
    return Predictions(
        labels=split.labels.cpu().numpy().astype(kind),
        predicted=torch.cat(predicted).cpu().numpy().astype(kind),
        confidence=torch.cat(confidence).cpu().numpy().astype(np.float16),
        classes=classes,
    )
