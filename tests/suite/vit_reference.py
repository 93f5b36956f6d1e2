"""timm's vision transformer with a run's numbers, and what one optimizer step makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from suite.declarations.config import RunConfig
from suite.models.specs import Network

# Our words for timm's, where they differ.
TIMMS_NAMES = {"patch_embed.": "patch_embed.proj.", ".kernel": ".weight", ".scale": ".weight"}
TIMMS_NAMES |= {".shift": ".bias"}


def timms_name(name: str) -> str:
    for ours, theirs in TIMMS_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def timms_own(config: RunConfig, channels: int, height: int, width: int, classes: int) -> nn.Module:
    """The module of the same sizes, in double precision, with weights of its own."""
    token = config.global_pool == "token"
    return VisionTransformer(
        img_size=(height, width),
        patch_size=config.patch_size,
        in_chans=channels,
        num_classes=classes,
        global_pool=config.global_pool,
        class_token=token,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
    ).double()


def with_numbers(module: nn.Module, network: Network, numbers: Mapping[str, Tensor]) -> nn.Module:
    """The module with one run's numbers; every parameter of either is the other's."""
    names = {timms_name(spec.name): spec.name for spec in network.parameters}
    own = dict(module.named_parameters())
    assert list(names) == list(own)
    with torch.no_grad():
        for theirs, ours in names.items():
            assert own[theirs].shape == numbers[ours].shape
            own[theirs].copy_(numbers[ours])
    return module


def is_kernel(name: str) -> bool:
    """Whether a parameter of timm's is a matrix of a layer."""
    return name.endswith(".weight") and "norm" not in name


def is_orthogonalised(optimizer: str, name: str) -> bool:
    """By Muon's authors hidden matrices alone; by Keras all that have two axes."""
    hidden = is_kernel(name) and name.startswith("blocks.")
    return hidden or (optimizer == "muon_keras" and name == "head.weight")


def stock_step(config: RunConfig, module: nn.Module) -> torch.optim.Optimizer:
    """torch's own rule with L2 on kernels alone."""
    kernels = [p for name, p in module.named_parameters() if is_kernel(name)]
    others = [p for name, p in module.named_parameters() if not is_kernel(name)]
    groups = [{"params": kernels, "weight_decay": config.kernel_l2}]
    groups.append({"params": others, "weight_decay": 0.0})
    if config.optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), weight_decay=config.weight_decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.SGD(groups, momentum=0.9 if config.optimizer == "momentum" else 0.0)


class WrittenDown:
    """The equations of a rule in either semantics, applied to each parameter on its own."""

    def __init__(self, config: RunConfig, module: nn.Module) -> None:
        self.config, self.module, self.steps = config, module, 0
        self.memory: dict[str, dict[str, Any]] = {n: {} for n, _ in module.named_parameters()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        self.steps += 1
        for name, parameter in self.module.named_parameters():
            assert parameter.grad is not None
            parameter.copy_(self._updated(name, parameter, parameter.grad, rate))

    def _updated(self, name: str, w: Tensor, g: Tensor, rate: float) -> Tensor:
        config, memory = self.config, self.memory[name]
        keras = config.semantics == "keras"
        if is_kernel(name):
            g = g + (2 if keras else 1) * config.kernel_l2 * w
        if config.optimizer == "sgd":
            return w - rate * g
        if config.optimizer == "momentum":
            velocity = memory["v"] = 0.9 * memory.get("v", 0) + (rate if keras else 1) * g
            return w - (1 if keras else rate) * velocity
        if config.optimizer != "adam":
            w = w - rate * config.weight_decay * w
        muon = config.optimizer.startswith("muon")
        if muon and is_orthogonalised(config.optimizer, name):
            memory["m"] = 0.95 * memory.get("m", 0) + g
            return w - rate * _orthogonal(g + 0.95 * memory["m"], keras=keras)
        memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
        memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
        unbias = (1 - 0.999**self.steps) ** 0.5
        epsilon = 1e-7 if keras else 1e-8 * unbias
        factor = rate * unbias / (1 - 0.9**self.steps)
        return w - factor * memory["m"] / (memory["v"].sqrt() + epsilon)


def _orthogonal(ahead: Tensor, *, keras: bool) -> Tensor:
    """Five Newton-Schulz iterations on the singular values, scaled as the semantics does."""
    u, s, v = torch.linalg.svd(ahead, full_matrices=False)
    norm = float(s.square().sum().sqrt())
    s = s / (norm + 1e-7 if keras else norm)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    rows, columns = ahead.shape
    scale = 0.2 * max(rows, columns) ** 0.5 if keras else max(1.0, rows / columns) ** 0.5
    return scale * (u * s) @ v
