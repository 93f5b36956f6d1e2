from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from analysis.figures import style
from suite.declarations.config import RunConfig


def test_every_optimizer_has_a_name_a_colour_and_a_marker_of_its_own() -> None:
    rules = RunConfig.choices("optimizer")
    assert set(style.OPTIMIZERS) == set(rules)
    looks = [style.optimizer_look(rule) for rule in rules] + [style.optimizer_look("unknown")]
    for shown in ("name", "colour", "marker"):
        assert len({getattr(look, shown) for look in looks}) == len(looks)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("sgd b64", "SGD b64"),
        ("resnet56 momentum b8", "resnet56 SGD + momentum b8"),
        ("adam b16 BN momentum 0.9", "Adam b16 BN momentum 0.9"),
        ("new_rule b8", "new_rule b8"),
        ("sgd", "SGD"),
    ],
)
def test_a_recipes_optimizer_is_written_as_in_prose_wherever_it_stands(
    label: str, name: str
) -> None:
    assert style.recipe_name(label) == name


def test_ink_is_readable_on_its_ground() -> None:
    assert (style.ink_on(to_rgba("yellow")), style.ink_on(to_rgba("navy"))) == ("black", "white")


def test_small_batches_are_darker_than_large_ones() -> None:
    colours = style.batch_colours([256, 16, 64])
    brightness = [sum(colours[size][:3]) for size in (16, 64, 256)]
    assert brightness == sorted(brightness)


@given(low=st.floats(1e-8, 1e4), span=st.floats(2.6, 1e6))
def test_a_logarithmic_axis_has_two_to_eight_ticks_each_with_another_label(
    low: float, span: float
) -> None:
    axes = Figure().add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(low, span * low)
    style.log_ticks(axes.xaxis, low, span * low)
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= span * low]
    assert 2 <= len(ticks) <= 8
    if span < 100:
        labels = axes.xaxis.get_major_formatter().format_ticks(ticks)
        assert len(set(labels)) == len(labels)
        assert all("e" not in label for label in labels)


@pytest.mark.parametrize(
    ("value", "text"), [(0.02, "0.02"), (3e-6, r"$3\cdot10^{-6}$"), (150.0, "150")]
)
def test_a_tick_is_written_in_few_letters(value: float, text: str) -> None:
    axes = Figure().add_subplot()
    style.log_ticks(axes.xaxis, value, 3 * value)
    assert axes.xaxis.get_major_formatter()(value, 0) == text
