"""ResNet-9 of stock PyTorch modules, as one would write it; torch suffices."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class StockResNet9(nn.Module):
    """The network of `suite.models.resnet.ResNet9`, in PyTorch's own semantics."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        w = width
        plan = [(channels, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 2 * w)]
        plan += [(2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w), (8 * w, 8 * w)]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in plan
        )
        self.head = nn.Linear(8 * w, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        b = self.blocks
        x = F.max_pool2d(b[1](b[0](x)), 2)
        x = x + b[3](b[2](x))
        x = F.max_pool2d(b[4](x), 2)
        x = F.max_pool2d(b[5](x), 2)
        x = x + b[7](b[6](x))
        scores: Tensor = self.head(x.amax((2, 3)))
        return scores
