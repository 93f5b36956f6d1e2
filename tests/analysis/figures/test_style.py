from __future__ import annotations

from matplotlib.colors import to_rgba

from analysis.figures import style


def test_ink_is_readable_on_its_ground() -> None:
    assert (style.ink_on(to_rgba("yellow")), style.ink_on(to_rgba("navy"))) == ("black", "white")


def test_small_batches_are_darker_than_large_ones() -> None:
    colours = style.batch_colours([256, 16, 64])
    brightness = [sum(colours[size][:3]) for size in (16, 64, 256)]
    assert brightness == sorted(brightness)
