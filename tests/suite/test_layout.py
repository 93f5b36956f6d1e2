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

from suite.layout import Layout
from suite.models.specs import Kind, ParameterSpec
from suite.optimizers import arranged

LIKE = torch.empty(0, dtype=torch.float64)

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
kinds: st.SearchStrategy[Kind] = st.sampled_from(get_args(Kind))


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    first: tuple[tuple[int, ...], Kind] = (draw(shapes), "kernel")
    parts = [first, *draw(st.lists(st.tuples(shapes, kinds), max_size=5))]
    specs = [ParameterSpec(f"p{i}", shape, kind, 1) for i, (shape, kind) in enumerate(parts)]
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
    in_span = sorted(flat[: layout.kernel_span].tolist())
    assert in_span == sorted(n for run in runs for name in kernels for n in run[name].flatten())
    expected = [sum(float((run[name] ** 2).sum()) for name in kernels) for run in runs]
    np.testing.assert_allclose(layout.kernel_square_sum(flat), expected, rtol=1e-14)


@settings(max_examples=50, deadline=None)
@given(layouts())
def test_a_value_per_run_reaches_the_elements_of_that_run(layout: Layout) -> None:
    values = torch.arange(1.0, layout.runs + 1, dtype=torch.float64)
    elements = layout.per_element(values, layout.specs)
    for view in layout.views(elements).values():
        for run in range(layout.runs):
            assert torch.equal(view[run], torch.full_like(view[run], run + 1.0))


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
        ParameterSpec("scale", (2,), "other"),
        ParameterSpec("conv", (2, 2, 3, 3), "kernel", 18),
        ParameterSpec("bias", (2,), "bias"),
        ParameterSpec("head", (2, 2), "kernel", 2, classifier=True),
        ParameterSpec("deep", (2, 2, 1, 1), "kernel", 2),
    ]
    assert [spec.name for spec in arranged(optimizer, specs)] == order
