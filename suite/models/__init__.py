"""Architectures by name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from suite.models.layers import SEMANTICS
from suite.models.parameterization import with_growths
from suite.models.resnet import CifarResNet, ResNet9
from suite.models.specs import Network
from suite.models.vit import Sizes, VisionTransformer

if TYPE_CHECKING:
    from suite.declarations.config import RunConfig

SMALLEST_SIDE = 8  # three poolings, or two strides and a 3×3 kernel with something to see


def build(config: RunConfig, channels: int, height: int, width: int, classes: int) -> Network:
    """The network of a configuration for images of the given shape.

    Parameters
    ----------
    config
        The run.
    channels, height, width
        Shape of one image.
    classes
        Number of classes.

    Raises
    ------
    ConfigError
        If the architecture cannot take such images, or timm does not know it.
    """
    # The architectures themselves do without the settings' libraries: benchmarks/gpu.py runs on a
    # machine that has none of them.
    from suite.declarations.config import ConfigError
    from suite.declarations.network_settings import RESNETS, VIT

    if config.model == VIT:
        return _vision_transformer(config, channels, height, width, classes)
    if config.model not in RESNETS:
        # timm brings a second of import; the ResNets do without.
        from suite.models.timm_network import TimmNetwork

        if height != width:
            raise ConfigError(
                f"model: timm models take square images, got {height}×{width}; resize the images"
            )
        return TimmNetwork(config.model, channels, height, classes, config.seed)
    if min(height, width) < SMALLEST_SIDE:
        raise ConfigError(
            f"model: {config.model} takes images of {SMALLEST_SIDE}×{SMALLEST_SIDE} or more, "
            f"got {height}×{width}; enlarge the images or choose a timm model"
        )
    side = max(height, width)
    network = _resnet(config, channels, side, config.channels, classes)
    if config.parameterization == "mup":
        base = _resnet(config, channels, side, config.mup_base_width, classes)
        network.parameters = with_growths(network.parameters, base.parameters)
    return network


def _resnet(
    config: RunConfig, channels: int, side: int, width: int, classes: int
) -> ResNet9 | CifarResNet:
    """One of the paper's networks, with `width` channels in its first stage."""
    rules = replace(SEMANTICS[config.semantics], norm_momentum=config.momentum_of_norm)
    if config.model in ("resnet9", "r9-avgpool"):
        pool = "max" if config.model == "resnet9" else "average"
        return ResNet9(channels, side, width, classes, norm=config.norm, rules=rules, pool=pool)
    depth = int(config.model.removeprefix("resnet"))
    return CifarResNet(channels, width, classes, depth=depth, norm=config.norm, rules=rules)


def _vision_transformer(
    config: RunConfig, channels: int, height: int, width: int, classes: int
) -> Network:
    from suite.declarations.config import ConfigError

    if height % config.patch_size or width % config.patch_size:
        common = math.gcd(height, width)
        fitting = [size for size in range(1, common + 1) if common % size == 0]
        raise ConfigError(
            f"patch_size: must divide the images' {height}×{width} pixels, "
            f"got {config.patch_size}; give {' or '.join(map(str, fitting))}"
        )
    sizes = Sizes(
        config.patch_size,
        config.embed_dim,
        config.depth,
        config.num_heads,
        config.mlp_ratio,
        config.global_pool,
    )
    return VisionTransformer(channels, height, width, classes, sizes, config.seed)
