"""Averaging down against pixels cut into pieces, Pillow's box filter and plain means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from suite.data.parts import DataError, ImageParts, LabelledImages
from suite.data.resizing import area_means, averaged_down
from suite.data.splits import load


def images(length: int, seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, length, length), np.uint8)


@given(length=st.integers(1, 24), data=st.data())
def test_area_means_are_those_of_pixels_cut_into_pieces(length: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, length))
    whole = images(length, seed=length * 100 + side)
    # Each pixel as side × side pieces: then every new pixel holds length × length whole pieces.
    pieces = whole.repeat(side, axis=2).repeat(side, axis=3).astype(np.int64)
    sums = pieces.reshape(3, 1, side, length, side, length).sum((3, 5))
    assert (area_means(whole, side) == np.floor(sums / length**2 + 0.5)).all()


@pytest.mark.parametrize(("length", "side"), [(32, 16), (32, 8), (9, 3)])
def test_area_means_are_pillows_box_filter_where_pixels_stay_whole(length: int, side: int) -> None:
    whole = images(length, seed=0)
    for small, image in zip(area_means(whole, side), whole, strict=True):
        box = Image.fromarray(image[0]).resize((side, side), Image.Resampling.BOX)
        # Pillow rounds after each axis.
        assert np.abs(small[0].astype(int) - np.asarray(box).astype(int)).max() <= 1


def test_half_the_side_is_the_mean_of_four_pixels_halves_rounded_up() -> None:
    whole = images(8, seed=0)
    four = whole.reshape(3, 1, 4, 2, 4, 2).sum((3, 5), dtype=np.int64)
    assert (area_means(whole, 4) == (four + 2) // 4).all()


@given(length=st.integers(1, 20), value=st.integers(0, 255), data=st.data())
def test_an_even_image_stays_as_bright_as_it_is(
    length: int, value: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, length))
    even = np.full((2, 3, length, length), value, np.uint8)
    assert (area_means(even, side) == value).all()


def test_the_own_side_changes_nothing() -> None:
    whole = images(7, seed=1)
    assert (area_means(whole, 7) == whole).all()


@pytest.mark.parametrize(("shape", "side"), [((8, 8), 9), ((8, 6), 4)])
def test_larger_or_oblong_is_refused(shape: tuple[int, int], side: int) -> None:
    part = LabelledImages(np.zeros((1, 1, *shape), np.uint8), np.zeros(1, np.int64))
    with pytest.raises(
        DataError, match=rf"^image_side: .*here {shape[0]}×{shape[1]}, got {side}; "
    ):
        averaged_down(ImageParts(("a",), part, part, ""), side)


def test_a_data_set_is_averaged_down_before_it_is_split() -> None:
    whole, small = load("digits", None), load("digits", None, image_side=4)
    for part, smaller in ((whole.train, small.train), (whole.test, small.test)):
        assert (area_means(part.images.numpy(), 4) == smaller.images.numpy()).all()
        assert (part.labels == smaller.labels).all()
    assert small.digest == whole.digest
