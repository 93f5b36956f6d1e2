"""The model that a run returns, that of its lowest val_loss, tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from suite.data.splits import Split
from suite.declarations.config import RunConfig
from suite.declarations.predictions import Predictions
from suite.engine.checkpoint import Group
from suite.engine.evaluation import loss_and_accuracy, scored
from suite.engine.prediction import predictions_of
from suite.models.specs import Network


@dataclass(frozen=True, eq=False)
class ReturnedModel:
    """A returned model.

    Attributes
    ----------
    parameters, buffers
        Name to tensor, on the CPU.
    predictions
        What it says of the test images.
    summary
        The summary metrics of the test set.
    """

    parameters: Group
    buffers: Group
    predictions: Predictions
    summary: Mapping[str, float]


def returned_model(
    network: Network, parameters: Group, buffers: Group, test: Split, config: RunConfig
) -> ReturnedModel:
    """Test a run's best checkpoint.

    On its own and laid out as in a file, so that no number depends on the run's company, and a
    reloaded checkpoint gives each again to the last digit.

    Parameters
    ----------
    network
        The architecture.
    parameters, buffers
        The run's, name to tensor.
    test
        The test images, on the device of the tensors.
    config
        The run.
    """
    views = {name: value.unsqueeze(0).contiguous() for name, value in parameters.items()}
    kept = {name: value.unsqueeze(0) for name, value in buffers.items()}
    batches = list(scored(network, views, kept, test, config))
    loss, accuracy = loss_and_accuracy(batches)
    predictions = predictions_of(batches)
    summary = {
        "test_nll": float(loss),
        "test_ece": predictions.calibration_error,
        "test_loss": float(loss + _penalty(network, views, config)),
        "test_accuracy": float(accuracy),
    }
    return ReturnedModel(_on_cpu(views), _on_cpu(kept), predictions, summary)


def _penalty(network: Network, views: Group, config: RunConfig) -> Tensor | float:
    """What Keras's L2 adds to the loss."""
    if config.semantics != "keras" or not config.kernel_l2:
        return 0.0
    kernels = [views[spec.name] for spec in network.parameters if spec.kind == "kernel"]
    return config.kernel_l2 * sum(kernel.square().sum() for kernel in kernels)


def _on_cpu(views: Group) -> Group:
    return {name: value[0].cpu().clone() for name, value in views.items()}
