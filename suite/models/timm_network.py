"""Any timm model as a network of a fleet.

The runs are computed one after another on slices of the stacked tensors: at the sizes for which
one takes a ViT or a ConvNeXt, arithmetic dominates and fusing has nothing to win.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from suite.basics.errors import first_line
from suite.basics.randomness import stream_key
from suite.declarations.config import ConfigError
from suite.declarations.network_settings import TIMM_PREFIX
from suite.models.specs import BufferSpec, ParameterSpec
from suite.models.timm_sizes import size_options

# Biases that timm holds beside the linear layer to which they belong: those of queries and values
# in beit, eva and swin_transformer_v2, and of the MLP in vision_transformer's parallel blocks.
BIASES_APART = ("q_bias", "v_bias", "mlp_bias")
# What timm and torch raise where an architecture does not fit the images.
UNFIT = (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError)


class TimmNetwork:
    """A timm model built for the data's image size.

    Kernels and biases of its convolution and linear layers are *kernels* and *biases*, also where
    timm holds a bias beside its layer (:data:`BIASES_APART`). All else starts as timm starts it,
    from the run's seed: embeddings, tokens, tables of position biases, norms, layer scales, and the
    few matrices that belong to no such layer, as in a CondConv2d. Dropout and stochastic depth,
    which a few models turn on by default, are off.

    Raises
    ------
    ConfigError
        If timm has no such model, or it cannot be built for images of this size.
    """

    def __init__(self, model: str, channels: int, side: int, classes: int, seed: int) -> None:
        module: Any = _create(model, channels, side, classes, seed)
        self.module: nn.Module = module
        kernels, biases = _kernels_and_biases(self.module)
        classifier = getattr(module.get_classifier(), "weight", None)
        self.parameters = tuple(
            _parameter(name, value.detach(), kernels, biases, classifier=value is classifier)
            for name, value in self.module.named_parameters()
        )
        self.buffers = tuple(
            BufferSpec(
                name,
                tuple(value.shape),
                value.detach().clone(),
                None if value.is_floating_point() else value.dtype,
            )
            for name, value in self.module.named_buffers()
        )
        self.batch_statistics = any(isinstance(m, _BatchNorm) for m in self.module.modules())

    def logits(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        images: Tensor,
        *,
        training: bool,
    ) -> Tensor:
        """Class scores; see :class:`suite.models.specs.Network`."""
        self.module.train(training)
        # unbind's backward is one stack; indexing run by run would add up R zero-filled tensors.
        by_name = {name: value.unbind(0) for name, value in parameters.items()}
        scores = []
        for run in range(images.shape[1]):
            numbers = {name: values[run] for name, values in by_name.items()}
            numbers |= {name: value[run] for name, value in buffers.items()}
            scores.append(functional_call(self.module, numbers, (images[:, run],)))
        return torch.stack(scores, dim=1)

    def inference(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Class scores of images; see :class:`suite.models.specs.Network`."""
        return functools.partial(self.logits, parameters, buffers, training=False)


def _create(model: str, channels: int, side: int, classes: int, seed: int) -> nn.Module:
    name = model.removeprefix(TIMM_PREFIX)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        remedy = f"did you mean {TIMM_PREFIX}{close[0]}?" if close else "see timm.list_models()"
        raise ConfigError(f"model: must be a model that timm knows, got {model!r}; {remedy}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(seed, "timm"))
        try:
            module: nn.Module = timm.create_model(
                name,
                pretrained=False,
                num_classes=classes,
                in_chans=channels,
                **size_options(name, side),
            )
            scores = module.eval()(torch.zeros(2, channels, side, side))
            if getattr(scores, "shape", None) != (2, classes):
                raise ValueError("it gives no class scores")
        except UNFIT as error:
            raise ConfigError(
                f"model: cannot be built for {side}×{side} images, got {model!r} "
                f"({first_line(error)}); choose another model or larger images"
            ) from None
    _make_deterministic(module)
    return module


def _make_deterministic(module: nn.Module) -> None:
    # What these layers drop comes from global random state, so from the run's company.
    for layer in module.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0
        elif isinstance(layer, DropPath):
            layer.drop_prob = 0.0


def _kernels_and_biases(module: nn.Module) -> tuple[dict[str, int], set[str]]:
    """Names of kernels with their fan-in, and names of their biases."""
    kernels: dict[str, int] = {}
    biases: set[str] = set()
    for prefix, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            kernels[f"{prefix}.weight"] = layer.weight[0].numel()
            if layer.bias is not None:
                biases.add(f"{prefix}.bias")
    apart = (name for name, _ in module.named_parameters())
    biases |= {name for name in apart if name.rpartition(".")[2] in BIASES_APART}
    return kernels, biases


def _parameter(
    name: str, value: Tensor, kernels: Mapping[str, int], biases: set[str], *, classifier: bool
) -> ParameterSpec:
    shape = tuple(value.shape)
    if name in kernels:
        return ParameterSpec(name, shape, "kernel", kernels[name], classifier=classifier)
    if name in biases:
        return ParameterSpec(name, shape, "bias")
    return ParameterSpec(name, shape, "other", initial=value.clone())
