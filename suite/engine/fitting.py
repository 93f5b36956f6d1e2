"""Whether tensors read from a file are those that a run's network and update rule have.

Copying one into its place would not tell: it converts types and broadcasts shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from suite.declarations.config import RunConfig
from suite.declarations.layers import LayerHistory
from suite.engine.checkpoint import MisfitError, RunState
from suite.engine.evaluation import DTYPES
from suite.engine.optimizers import arranged, moment_specs
from suite.models.specs import BufferSpec, Network, ParameterSpec

NAMES_SHOWN = 2  # of tensors that a line names


class Form(NamedTuple):
    """A tensor without its numbers."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}".removeprefix("torch.")


def require_fit(state: RunState, config: RunConfig, network: Network) -> None:
    """Make sure that a run can go on from a state.

    Parameters
    ----------
    state
        What was read.
    config, network
        The run that is to go on, and its architecture.

    Raises
    ------
    MisfitError
        If the state is another run's, has more epochs than the run, or any other tensors than the
        run's network and update rule: their names, shapes and dtypes are all compared.
    """
    if state.config.fingerprint != config.fingerprint:
        raise MisfitError(
            f"config: must be that of {config.run_name} ({config.fingerprint}), "
            f"got {state.config.run_name} ({state.config.fingerprint})"
        )
    if not 1 <= state.epoch <= config.epochs:
        raise MisfitError(f"history: must have 1 to {config.epochs} epochs, got {state.epoch}")
    if state.layers is not None:
        _require_layers(state.layers, state.epoch, network)
    kept = ("", "best_")
    expected = {f"{best}{key}": f for best in kept for key, f in model_forms(config, network)}
    specs = arranged(config.optimizer, network.parameters)
    for moment, of in moment_specs(config.optimizer, specs).items():
        expected |= _forms(f"moment_{moment}", of, config)
    groups = state.tensors.items()
    found = {f"{group}/{name}": t for group, part in groups for name, t in part.items()}
    _require(found, expected)


def _require_layers(layers: LayerHistory, epoch: int, network: Network) -> None:
    kernels = tuple(spec.name for spec in network.parameters if spec.kind == "kernel")
    if layers.layers != kernels:
        raise MisfitError(
            f"layers: must be the {len(kernels)} kernels of the present layout, "
            f"got {len(layers.layers)}, {' '.join(layers.layers)!r:.80}"
        )
    if layers.epochs and layers.epochs[-1] > epoch:
        raise MisfitError(f"layers: must be of epochs up to {epoch}, got {layers.epochs[-1]}")


def require_model(tensors: Mapping[str, Tensor], config: RunConfig, network: Network) -> None:
    """Make sure that tensors, named "parameters/…" and "buffers/…", are a network's.

    Raises
    ------
    MisfitError
        If a name, a shape or a dtype is another.
    """
    _require(tensors, dict(model_forms(config, network)))


def model_forms(config: RunConfig, network: Network) -> list[tuple[str, Form]]:
    """The tensors of a network by name: "parameters/…" and "buffers/…"."""
    parameters = _forms("parameters", network.parameters, config)
    return [*parameters.items(), *_forms("buffers", network.buffers, config).items()]


def _forms(
    group: str, specs: Sequence[ParameterSpec] | Sequence[BufferSpec], config: RunConfig
) -> dict[str, Form]:
    own = DTYPES[config.precision]
    return {
        f"{group}/{spec.name}": Form(getattr(spec, "dtype", None) or own, tuple(spec.shape))
        for spec in specs
    }


def _require(tensors: Mapping[str, Tensor], expected: Mapping[str, Form]) -> None:
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        raise MisfitError(
            f"tensors: must be those of the present layout, missing {_some(missing)}, "
            f"unknown {_some(unknown)}"
        )
    for name, form in expected.items():
        found = Form(tensors[name].dtype, tuple(tensors[name].shape))
        if found != form:
            raise MisfitError(f"{name}: must be {form}, got {found}")


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMES_SHOWN]) or "none"
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
