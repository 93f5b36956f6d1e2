"""Convolutions of the smallest images, against torch's grouped one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from suite.engine.layout import Layout
from suite.models.small_convolution import TAP_MAJOR, small_convolution
from suite.models.specs import ParameterSpec


@pytest.mark.parametrize("stored", [(), TAP_MAJOR], ids=["shape", "tap-major"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2)], ids=str)
def test_small_convolution_and_its_gradients_are_the_grouped_convolutions(
    size: tuple[int, int], stored: tuple[int, ...]
) -> None:
    stream = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=stream, dtype=torch.float64)

    spec = ParameterSpec("k", (5, 4, 3, 3), "kernel", 36, order=stored)
    layout = Layout([spec], 3)
    kernel = layout.views(drawn(layout.size))["k"].requires_grad_()
    x, bias = drawn(6, 12, *size).requires_grad_(), drawn(3, 5).requires_grad_()
    ours = small_convolution(x, kernel, bias)
    stock = F.conv2d(x, kernel.flatten(0, 1), bias.flatten(), padding=1, groups=3)
    assert_close(ours, stock, rtol=0, atol=1e-13)
    weights = drawn(*stock.shape)
    inputs = (x, kernel, bias)
    gradients = torch.autograd.grad((ours * weights).sum(), inputs)
    expected = torch.autograd.grad((stock * weights).sum(), inputs)
    assert_close(gradients, expected, rtol=0, atol=1e-12)
