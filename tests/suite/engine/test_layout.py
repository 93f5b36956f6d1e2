"""The flat tensor: every number has one place, and reads back from it."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from suite.engine.layout import Layout
from suite.engine.optimizers import arranged
from suite.models.specs import Kind, ParameterSpec

LIKE = torch.empty(0, dtype=torch.float64)

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
kinds: st.SearchStrategy[Kind] = st.sampled_from(get_args(Kind))


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    first: tuple[tuple[int, ...], Kind] = (draw(shapes), "kernel")
    parts = [first, *draw(st.lists(st.tuples(shapes, kinds), max_size=5))]
    specs = [
        ParameterSpec(
            f"p{i}", shape, kind, 1, order=tuple(draw(st.permutations(range(len(shape)))))
        )
        for i, (shape, kind) in enumerate(parts)
    ]
    return Layout(arranged("sgd", specs), draw(st.integers(1, 4)))


def numbered(layout: Layout) -> list[dict[str, Tensor]]:
    """Every element of every run its own number."""
    counter = iter(range(10**6))
    return [
        {
            spec.name: torch.tensor(
                [float(next(counter)) for _ in range(math.prod(spec.shape))], dtype=torch.float64
            ).view(spec.shape)
            for spec in layout.specs
        }
        for _ in range(layout.runs)
    ]


@settings(max_examples=50, deadline=None)
@given(layouts())
def test_packing_keeps_every_number_once(layout: Layout) -> None:
    runs = numbered(layout)
    flat = layout.pack(runs, LIKE)
    assert flat.dtype == torch.float64
    assert sorted(flat.tolist()) == list(range(layout.size))
    views = layout.views(flat)
    assert list(views) == [spec.name for spec in layout.specs]
    for run, tensors in enumerate(runs):
        unpacked = layout.unpack(flat, run)
        assert set(unpacked) == set(tensors)
        for name, value in tensors.items():
            assert torch.equal(unpacked[name], value)
            assert torch.equal(views[name][run], value)


@settings(max_examples=50, deadline=None)
@given(layouts())
def test_kernels_come_first_and_their_squares_are_summed_run_by_run(layout: Layout) -> None:
    runs = numbered(layout)
    flat = layout.pack(runs, LIKE)
    kernels = [spec.name for spec in layout.specs if spec.kind == "kernel"]
    in_kernels = sorted(n for run in runs for name in kernels for n in run[name].flatten())
    assert sorted(flat[: len(in_kernels)].tolist()) == in_kernels
    expected = [sum(float((run[name] ** 2).sum()) for name in kernels) for run in runs]
    np.testing.assert_allclose(layout.kernel_square_sum(flat), expected, rtol=1e-14)


def test_views_share_memory_and_carry_gradients() -> None:
    specs = [ParameterSpec("k", (2, 3), "kernel", 3), ParameterSpec("b", (2,), "bias")]
    layout = Layout(specs, 2)
    flat = torch.zeros(layout.size, dtype=torch.float64)
    layout.views(flat)["b"][1] += 1.0
    assert flat.tolist() == [0.0] * 14 + [1.0, 1.0]
    flat.requires_grad_()
    (gradient,) = torch.autograd.grad(layout.views(flat)["b"][1].sum(), flat)
    assert gradient.tolist() == [0.0] * 14 + [1.0, 1.0]


@pytest.mark.parametrize(
    ("optimizer", "order"),
    [
        ("sgd", ["conv", "head", "deep", "scale", "bias"]),
        ("muon", ["conv", "deep", "head", "scale", "bias"]),
        ("muon_keras", ["head", "conv", "deep", "scale", "bias"]),
    ],
)
def test_what_muon_orthogonalises_comes_first(optimizer: str, order: list[str]) -> None:
    specs = [
        ParameterSpec("scale", (4,), "other"),
        ParameterSpec("conv", (4, 2, 3, 3), "kernel", 18),
        ParameterSpec("bias", (4,), "bias"),
        ParameterSpec("head", (4, 4), "kernel", 4, classifier=True),
        ParameterSpec("deep", (4, 4, 1, 1), "kernel", 4),
    ]
    assert [spec.name for spec in arranged(optimizer, specs)] == order


def test_order_changes_the_places_in_memory_and_nothing_else() -> None:
    kernel = torch.arange(2.0 * 3 * 3 * 3, dtype=torch.float64).view(2, 3, 3, 3)
    layout = Layout([ParameterSpec("k", (2, 3, 3, 3), "kernel", 27, order=(2, 3, 1, 0))], 2)
    flat = layout.pack([{"k": kernel}, {"k": -kernel}], LIKE)
    assert torch.equal(layout.views(flat)["k"], torch.stack([kernel, -kernel]))
    assert torch.equal(layout.unpack(flat, 1)["k"], -kernel)
    # The second run's first tap, its inputs and, fastest, its outputs.
    assert torch.equal(flat[54:60].view(3, 2), -kernel[:, :, 0, 0].T)


@settings(max_examples=50, deadline=None)
@given(layouts(), st.data())
def test_chosen_runs_are_those_runs_packed(layout: Layout, drawn: st.DataObject) -> None:
    runs = numbered(layout)
    numbers = st.lists(st.integers(0, layout.runs - 1), min_size=1, unique=True)
    chosen = drawn.draw(numbers)
    expected = Layout(layout.specs, len(chosen)).pack([runs[run] for run in chosen], LIKE)
    flat = layout.pack(runs, LIKE)
    assert torch.equal(layout.chosen(flat, torch.tensor(chosen)), expected)


def test_kernel_norms_are_exact_in_fp32_at_the_papers_largest_kernel() -> None:
    size = 512 * 512 * 9
    layout = Layout([ParameterSpec("kernel", (size,), "kernel", 1)], 2)
    flat = torch.randn(2 * size, generator=torch.Generator().manual_seed(0))
    expected = flat.double().view(2, size).square().sum(1)
    torch.testing.assert_close(layout.kernel_square_sum(flat).double(), expected, rtol=3e-7, atol=0)
