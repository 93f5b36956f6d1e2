"""Makes runs: trains networks from many initialization scales and logs them to MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite.trained_model import TrainedModel


def load(run_id: str, *, tracking_uri: str = "") -> TrainedModel:
    """The best checkpoint of a run, ready to predict; see :func:`suite.trained_model.load`."""
    from suite.trained_model import load as load_model  # torch and MLflow are slow to import

    return load_model(run_id, tracking_uri=tracking_uri)
