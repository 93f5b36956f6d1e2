"""A vision transformer whose runs train side by side: every matrix is stacked over them.

It computes what timm's `VisionTransformer` of the same sizes does (Dosovitskiy et al. 2021, with
pre-norm blocks), in both semantics, but not in the same steps. The class token is all that the
classifier sees, so that the last block computes nothing of the other tokens but their keys and
values; and the scale and shift of a LayerNorm are taken into the linear layer after it, where they
cost a product of small matrices in place of two passes over all tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.basics.randomness import generator
from suite.models.specs import BufferSpec, ParameterSpec

Pooling = Literal["token", "avg"]
EPSILON = 1e-6  # of LayerNorm, as in timm
FEW_TOKENS = 8  # up to which heads are not sorted out, which takes longer than it saves
EMBEDDING_DEVIATION = 0.02  # of the initial position embeddings and class token, whatever σw is


@dataclass(frozen=True)
class Sizes:
    """What decides a transformer's shape, by timm's names.

    Attributes
    ----------
    patch_size
        Height and width of a patch in pixels.
    embed_dim
        Features of a token; `num_heads` divides it.
    mlp_ratio
        Hidden features of a block's MLP, as a multiple of `embed_dim`.
    global_pool
        What the classifier sees: the class *token*, or the average (*avg*) of the patches' tokens,
        and then there is no class token.
    """

    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float
    global_pool: Pooling

    @property
    def hidden(self) -> int:
        """Hidden features of a block's MLP."""
        return int(self.embed_dim * self.mlp_ratio)


class VisionTransformer:
    """Patches to tokens, `depth` blocks of attention and MLP, a classifier; see `Sizes`.

    Parameters
    ----------
    channels, height, width
        Shape of one image; `sizes.patch_size` divides height and width.
    classes
        Number of classes.
    seed
        Of the run whose initial embeddings the parameters carry.
    """

    buffers: tuple[BufferSpec, ...] = ()
    batch_statistics = False

    def __init__(
        self, channels: int, height: int, width: int, classes: int, sizes: Sizes, seed: int
    ) -> None:
        self.sizes, self.channels = sizes, channels
        self.rows, self.columns = height // sizes.patch_size, width // sizes.patch_size
        self.has_token = sizes.global_pool == "token"
        self.blocks = [f"blocks.{index}" for index in range(sizes.depth)]
        # With average pooling timm normalizes after it.
        self.norm = "norm" if self.has_token else "fc_norm"
        self.parameters = tuple(self._parameters(classes, seed))

    def _parameters(self, classes: int, seed: int) -> Iterable[ParameterSpec]:
        size, features = self.sizes.patch_size, self.sizes.embed_dim
        if self.has_token:
            yield _embedding("cls_token", (1, 1, features), seed)
        tokens = self.rows * self.columns + self.has_token
        yield _embedding("pos_embed", (1, tokens, features), seed)
        yield ParameterSpec(
            "patch_embed.kernel",
            (features, self.channels, size, size),
            "kernel",
            self.channels * size**2,
            embedding=True,
            order=(1, 2, 3, 0),
        )
        yield ParameterSpec("patch_embed.bias", (features,), "bias")
        for block in self.blocks:
            yield from _norm(f"{block}.norm1", features)
            yield from _linear(f"{block}.attn.qkv", features, 3 * features)
            yield from _linear(f"{block}.attn.proj", features, features)
            yield from _norm(f"{block}.norm2", features)
            yield from _linear(f"{block}.mlp.fc1", features, self.sizes.hidden)
            yield from _linear(f"{block}.mlp.fc2", self.sizes.hidden, features)
        yield from _norm(self.norm, features)
        yield from _linear("head", features, classes, classifier=True)

    # --- Forward, for R runs: activations have shape (R, batch, tokens, features) ---------------

    def logits(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],  # noqa: ARG002 of the protocol: it has none
        images: Tensor,
        *,
        training: bool,  # noqa: ARG002 of the protocol: it computes the same in both modes
    ) -> Tensor:
        """Class scores; see :class:`suite.models.specs.Network`."""
        return self._scores(parameters, images)

    def inference(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],  # noqa: ARG002
    ) -> Callable[[Tensor], Tensor]:
        """Class scores of images; see :class:`suite.models.specs.Network`."""
        return functools.partial(self._scores, parameters)

    def _scores(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        x = self._tokens(parameters, images)
        for block in self.blocks:
            x = self._block(parameters, block, x)
        pooled = x[:, :, 0] if self.has_token else x.mean(2)
        return _normalized_linear(parameters, self.norm, "head", pooled).transpose(0, 1)

    def _tokens(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Images of shape (batch, R, channels, height, width) as embedded tokens."""
        batch, runs, size = len(images), images.shape[1], self.sizes.patch_size
        grid = (batch, runs, self.channels, self.rows, size, self.columns, size)
        patches = images.reshape(grid).permute(1, 0, 3, 5, 2, 4, 6)
        patches = patches.reshape(runs, batch, self.rows * self.columns, -1)
        kernel = parameters["patch_embed.kernel"].flatten(2)
        x = _product(patches, kernel.transpose(1, 2), parameters["patch_embed.bias"])
        if self.has_token:
            x = torch.cat([parameters["cls_token"].expand(-1, batch, -1, -1), x], dim=2)
        return x + parameters["pos_embed"]

    def _block(self, parameters: Mapping[str, Tensor], block: str, x: Tensor) -> Tensor:
        """Attention and MLP; of the last block of a network with a class token, that token."""
        kernel, bias = _folded(parameters, f"{block}.norm1", f"{block}.attn.qkv")
        bias = bias * _acting_biases(self.sizes.embed_dim, bias.device, bias.dtype)
        normalized, heads = _normalized(x), self.sizes.num_heads
        if self.has_token and block == self.blocks[-1]:
            first = self.sizes.embed_dim
            query = _product(normalized[:, :, :1], kernel[..., :first], bias[:, :first])
            others = _product(normalized, kernel[..., first:], bias[:, first:])
            key, value = others.chunk(2, dim=-1)
            attended, x = _seen_by_one(query, key, value, heads), x[:, :, :1]
        else:
            attended = _seen_by_all(_product(normalized, kernel, bias), heads)
        x = x + _linear_of(parameters, f"{block}.attn.proj", attended)
        hidden = F.gelu(_normalized_linear(parameters, f"{block}.norm2", f"{block}.mlp.fc1", x))
        return x + _linear_of(parameters, f"{block}.mlp.fc2", hidden)


# --- Attention, as plain products -------------------------------------------------------------
#
# torch's fused kernel takes longer for so few tokens on a CPU; on a GPU its backward pass may add
# in any order, so that a resumed run would not go on bit by bit.


def _seen_by_all(parts: Tensor, heads: int) -> Tensor:
    """What each token reads of all.

    From queries, keys and values, shape (R, batch, tokens, 3 × features), to shape
    (R, batch, tokens, features).
    """
    runs, batch, tokens, width = parts.shape
    if tokens <= FEW_TOKENS:
        query, key, value = parts.flatten(0, 1).chunk(3, dim=-1)
        return _seen_unsorted(query, key, value, heads).view(runs, batch, tokens, width // 3)
    by_head = parts.view(runs * batch, tokens, 3, heads, width // (3 * heads))
    by_head = by_head.permute(2, 0, 3, 1, 4).contiguous()
    query, key, value = by_head.view(3, -1, tokens, by_head.shape[-1]).unbind(0)
    mixed = _read(query * query.shape[-1] ** -0.5, key, value)
    mixed = mixed.view(runs * batch, heads, tokens, -1).transpose(1, 2)
    return mixed.reshape(runs, batch, tokens, width // 3)


def _seen_by_one(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """What one token reads of all: shapes (R, batch, 1 or tokens, features)."""
    shape = query.shape
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    return _seen_unsorted(query, key, value, heads).view(shape)


def _seen_unsorted(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """What some tokens read of all, shapes (N, tokens, features), with heads left where they are.

    The heads' queries are rows that are zero outside of their own features, so that nothing is
    copied from head to head, for products that are as many times as large as there are heads.
    """
    count, tokens, features = query.shape
    own = _own_features(heads, features, query.device, query.dtype).unsqueeze(1)
    queries = query.unsqueeze(1) * ((features // heads) ** -0.5 * own)
    mixed = _read(queries.flatten(1, 2), key, value).view(count, heads, tokens, features)
    return (mixed * own).sum(1)


def _read(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Values weighed by how well their keys fit each query: shapes (N, tokens, features).

    Softmax in single precision at least, over keys that do not come last: of a few numbers that
    follow each other in memory a CPU takes it one by one.
    """
    scores = torch.bmm(key, query.transpose(1, 2))
    weights = (scores.float() if scores.dtype == torch.bfloat16 else scores).softmax(1)
    return torch.bmm(weights.to(value.dtype).transpose(1, 2), value)


@functools.cache
def _acting_biases(features: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """1 for the biases of queries and values, 0 for those of keys.

    A number that is the same in all keys of a query cancels in the softmax. Left out, its gradient
    is what it is, zero, and not a rounding error which Adam would scale up to full steps.
    """
    ones = torch.ones(3, features, dtype=dtype)
    ones[1] = 0
    return ones.flatten().to(device)


@functools.cache
def _own_features(heads: int, features: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """1 where a feature is a head's own, else 0: shape (heads, features)."""
    own = torch.eye(heads, dtype=dtype).repeat_interleave(features // heads, dim=1)
    return own.to(device)


# --- Layers -----------------------------------------------------------------------------------


def _embedding(name: str, shape: tuple[int, ...], seed: int) -> ParameterSpec:
    draw = torch.randn(
        shape, generator=generator(seed, "initialization", name), dtype=torch.float64
    )
    return ParameterSpec(name, shape, "other", initial=EMBEDDING_DEVIATION * draw)


def _norm(name: str, features: int) -> Iterable[ParameterSpec]:
    yield ParameterSpec(f"{name}.scale", (features,), "other", initial=1.0)
    yield ParameterSpec(f"{name}.shift", (features,), "other", initial=0.0)


def _linear(
    name: str, inputs: int, outputs: int, *, classifier: bool = False
) -> Iterable[ParameterSpec]:
    shape, order = (outputs, inputs), (1, 0)
    yield ParameterSpec(
        f"{name}.kernel", shape, "kernel", inputs, classifier=classifier, order=order
    )
    yield ParameterSpec(f"{name}.bias", (outputs,), "bias")


def _product(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """x·matrix + bias of each run: shapes (R, …, inputs), (R, inputs, outputs), (R, outputs)."""
    flat = x.flatten(1, -2)
    return torch.baddbmm(bias.unsqueeze(1), flat, matrix).view(*x.shape[:-1], -1)


def _linear_of(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    kernel = parameters[f"{name}.kernel"].transpose(1, 2)
    return _product(x, kernel, parameters[f"{name}.bias"])


def _normalized_linear(parameters: Mapping[str, Tensor], norm: str, name: str, x: Tensor) -> Tensor:
    """A LayerNorm and the linear layer after it."""
    return _product(_normalized(x), *_folded(parameters, norm, name))


def _normalized(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the features of each token, in the precision of the residuals."""
    wide = x.float() if x.dtype == torch.bfloat16 else x
    return F.layer_norm(wide, x.shape[-1:], eps=EPSILON)


def _folded(parameters: Mapping[str, Tensor], norm: str, name: str) -> tuple[Tensor, Tensor]:
    """Matrix and bias of a linear layer that have taken in the scale and shift before it."""
    scale, shift = parameters[f"{norm}.scale"], parameters[f"{norm}.shift"]
    matrix = parameters[f"{name}.kernel"].transpose(1, 2)
    bias = torch.bmm(shift.unsqueeze(1), matrix).squeeze(1) + parameters[f"{name}.bias"]
    return scale.unsqueeze(2) * matrix, bias
