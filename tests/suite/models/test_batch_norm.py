"""Batch normalization in fp32 against float64 and PyTorch's kernel for contiguous images."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from suite.models.batch_norm import ROWS, _groups, normalize

EPSILON = 1e-3
# Batch, channels, height, width: the large ones of a wide ResNet-9, and a fleet's.
SHAPES = [(128, 64, 32, 32), (256, 64, 32, 32), (16, 200, 8, 8), (64, 40, 4, 4), (7, 3, 17, 19)]
# Rounding in fp32, some times over: of the output, the statistics and the gradients.
TOLERANCE = 8e-7


class Case(NamedTuple):
    x: Tensor
    scale: Tensor
    shift: Tensor
    gradient: Tensor


def case(shape: tuple[int, ...], *, mean: float = 1.5) -> Case:
    stream = torch.Generator().manual_seed(0)
    last = torch.channels_last
    x = torch.randn(shape, generator=stream).mul_(2).add_(mean).contiguous(memory_format=last)
    scale = torch.rand(shape[1], generator=stream) + 0.5
    shift = torch.randn(shape[1], generator=stream)
    return Case(
        x, scale, shift, torch.randn(shape, generator=stream).contiguous(memory_format=last)
    )


def own(given: Case) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in given[:3]]
    output, mean, variance = normalize(*leaves, EPSILON)
    return [output.detach(), mean, variance, *torch.autograd.grad(output, leaves, given.gradient)]


def in_float64(given: Case) -> list[Tensor]:
    """By the definition, differentiated by autograd."""
    leaves = [tensor.double().requires_grad_() for tensor in given[:3]]
    x, scale, shift = leaves
    over = (0, 2, 3)
    mean, variance = x.mean(over), x.var(over, correction=0)
    shape = (1, -1, 1, 1)
    centred = x - mean.view(shape)
    normalized = centred * (variance.view(shape) + EPSILON).rsqrt()
    output = normalized * scale.view(shape) + shift.view(shape)
    gradients = torch.autograd.grad(output, leaves, given.gradient.double())
    return [output.detach(), mean.detach(), variance.detach(), *gradients]


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
def test_fp32_is_exact_to_rounding_forward_and_backward(shape: tuple[int, ...]) -> None:
    given = case(shape)
    errors = [error(*pair) for pair in zip(own(given), in_float64(given), strict=True)]
    assert max(errors) < TOLERANCE, errors


def test_pytorchs_own_kernel_for_channels_last_images_is_not_exact() -> None:
    """Once this fails, `suite.models.batch_norm` has become superfluous."""
    given = case(SHAPES[0])
    expected = in_float64(given)[0]
    stock = F.batch_norm(given.x, None, None, given.scale, given.shift, True, 0.0, EPSILON)
    assert error(stock, expected) > 4 * TOLERANCE
    contiguous = F.batch_norm(
        given.x.contiguous(), None, None, given.scale, given.shift, True, 0.0, EPSILON
    )
    assert error(contiguous, expected) < TOLERANCE


@pytest.mark.parametrize("mean", [30.0, 1000.0])
def test_a_mean_far_from_zero_costs_no_more_than_rounding_the_input_does(mean: float) -> None:
    given = case((64, 8, 16, 16), mean=mean)
    _, _, variance, *_ = own(given)
    _, _, expected, *_ = in_float64(given)
    assert error(variance, expected) < 1e-7 * mean


@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (ROWS, 4, 1, 1), (33, 5, 3, 7)])
def test_float64_and_few_rows_are_pytorchs(shape: tuple[int, ...]) -> None:
    given = Case(*(tensor.double() for tensor in case(shape)))
    errors = [error(*pair) for pair in zip(own(given), in_float64(given), strict=True)]
    assert max(errors) < 1e-13, errors


def test_runs_do_not_depend_on_their_company() -> None:
    """A channel's numbers are the same to the last digit whatever channels stand beside it."""
    given = case((16, 8, 8, 8))
    x = given.x[:, 3:4].contiguous(memory_format=torch.channels_last)
    alone = normalize(x, given.scale[3:4], given.shift[3:4], EPSILON)
    together = normalize(*given[:3], EPSILON)
    torch.testing.assert_close(alone[0], together[0][:, 3:4], rtol=2e-7, atol=2e-7)
    for one, all_of_them in zip(alone[1:], together[1:], strict=True):
        torch.testing.assert_close(one[0], all_of_them[3], rtol=2e-7, atol=1e-7)


@given(rows=st.integers(1, 20_000))
def test_groups_are_equal_and_small_wherever_the_number_of_rows_allows(rows: int) -> None:
    groups = _groups(rows)
    assert rows % groups == 0
    assert rows // groups <= ROWS or groups**2 >= rows
