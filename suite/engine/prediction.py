"""What one run predicts on a split, image by image, in the form in which it is kept."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from suite.declarations.predictions import Predictions, class_type
from suite.engine.evaluation import Scores


@torch.no_grad()
def predictions_of(batches: Iterable[Scores]) -> Predictions:
    """The predictions of one run, from its scores.

    Parameters
    ----------
    batches
        Of a split in its order, from :func:`suite.engine.evaluation.scored` of one run.
    """
    predicted, confidence, labels = [], [], []
    for scores, expected in batches:
        predicted.append(scores[:, 0].argmax(-1))
        confidence.append(scores[:, 0].double().softmax(-1).amax(-1))
        labels.append(expected)
    classes = scores.shape[-1]
    kind = class_type(classes)
    return Predictions(
        labels=torch.cat(labels).cpu().numpy().astype(kind),
        predicted=torch.cat(predicted).cpu().numpy().astype(kind),
        confidence=torch.cat(confidence).cpu().numpy().astype(np.float16),
        classes=classes,
    )
