"""What makes timm's architectures take small square images, by the module that registers them.

timm builds a model for the size of its weights, which are not used here. At that size a model is
left as it is. At any other, architectures that fix their size are told it, and those that would
have no image left after their first layers cut it into smaller patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.models import is_model_in_modules

Options = dict[str, Any]


def _tokens(side: int) -> Options:
    """Eight by eight patches, or one for each pixel of a smaller image."""
    return {"img_size": side, "patch_size": max(1, side // 8)}


def _pooled_tokens(side: int) -> Options:
    return _tokens(side) | {"stride": max(1, side // 8)}


def _windows(side: int) -> Options:
    """Sixteen by sixteen patches, which three mergings halve, in windows of four by four."""
    return {"img_size": side, "patch_size": max(1, side // 16), "window_size": 4}


def _side_alone(side: int) -> Options:
    return {"img_size": side}


def _after_convolutions(side: int) -> Options:
    """One token for each position that the convolutions leave."""
    return {"img_size": side, "patch_size": 1}


def _first_convolution(side: int) -> Options:
    """A first stride that leaves one position or more after the other three halvings."""
    return {"patch_size": max(1, side // 32)}


# Of a model whose module does not stand here, nothing is changed: it takes images of any size, or
# there is nothing to be set.
OPTIONS_BY_MODULE: Mapping[str, Callable[[int], Options]] = {
    "vision_transformer": _tokens,
    "vision_transformer_hybrid": _tokens,
    "vision_transformer_relpos": _tokens,
    "deit": _tokens,
    "beit": _tokens,
    "eva": _tokens,
    "cait": _tokens,
    "convit": _tokens,
    "tnt": _tokens,
    "nest": _tokens,
    "deepseek_vit": _tokens,
    "pit": _pooled_tokens,
    "vitamin": _after_convolutions,
    "swin_transformer": _windows,
    "swin_transformer_v2": _windows,
    "swin_transformer_v2_cr": _windows,
    "convnext": _first_convolution,
    # Their entry points fix the patch.
    "mlp_mixer": _side_alone,
    "coat": _side_alone,
    "efficientformer_v2": _side_alone,
    "gcvit": _side_alone,
    "hiera": _side_alone,
    "levit": _side_alone,
    "maxxvit": _side_alone,
    "visformer": _side_alone,
    "volo": _side_alone,
}


def size_options(name: str, side: int) -> Options:
    """Options of `timm.create_model` with which a model takes images of `side` × `side` pixels.

    Parameters
    ----------
    name
        A model that timm knows.
    side
        Height and width of the images in pixels.

    Raises
    ------
    RuntimeError
        If the name ends in a tag that timm does not know.
    """
    registered = timm.get_pretrained_cfg(name)
    if registered is not None and registered.input_size[1:] == (side, side):
        return {}
    for module, options in OPTIONS_BY_MODULE.items():
        if is_model_in_modules(name, (module,)):
            return options(side)
    return {}
