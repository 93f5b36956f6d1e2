"""Files whose pixels would be read as something else than was meant, each refused in one line."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.data import image_folder
from suite.data.image_file import decode_image
from suite.data.image_folder import list_image_folder, read_image_folder
from suite.data.parts import DataError

UPRIGHT, TURNED = 1, 6
ORIENTATION = 0x112


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            directory = tmp_path / "images" / part / name
            directory.mkdir(parents=True)
            Image.new("RGB", (4, 3)).save(directory / "0.png")
    return tmp_path / "images"


def line(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as refusal:
        call()
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


def png(path: Path, bits: int, colour: int, channels: int) -> Path:
    """A PNG by its specification: each sample is 0x1234, or 0x12 where it has 8 bits."""
    sample = struct.pack(">H", 0x1234)[: bits // 8]

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 4, 3, bits, colour, 0, 0, 0)
    pixels = zlib.compress(3 * (b"\0" + 4 * channels * sample))
    body = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize(
    ("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["L", "RGB", "LA", "RGBA"]
)
def test_a_png_of_16_bits_a_channel_is_refused_and_the_same_of_8_is_read(
    colour: int, channels: int, tmp_path: Path
) -> None:
    assert (decode_image(str(png(tmp_path / "8.png", 8, colour, channels))) == 0x12).all()
    deep = png(tmp_path / "16.png", 16, colour, channels)
    assert f"images must hold 8 bits a channel, got {'mode' if not colour else ''}" in line(
        lambda: decode_image(str(deep))
    )


def test_a_portable_pixmap_of_10_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.ppm"
    path.write_bytes(b"P6 4 3 1023\n" + np.full(36, 512, ">u2").tobytes())
    assert "got values up to 1023 in" in line(lambda: decode_image(str(path)))
    path.write_bytes(b"P6 4 3 100\n" + bytes([50] * 36))
    assert (decode_image(str(path)) == 128).all()  # by its own scale


def test_a_tiff_of_16_bits_a_channel_is_refused(tmp_path: Path) -> None:
    """One strip, little-endian, as TIFF 6.0 has it: the tags in order, then the values."""
    values, pixels = struct.pack("<3H", 16, 16, 16), np.full(36, 0x1234, "<u2").tobytes()
    at = 8 + 2 + 9 * 12 + 4
    tags = [
        *((256, 3, 1, 4), (257, 3, 1, 3), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, at + 6), (277, 3, 1, 3), (278, 3, 1, 3), (279, 4, 1, len(pixels))),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags)
    content = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + values + pixels
    (tmp_path / "deep.tif").write_bytes(content)
    assert "got 16 bits in" in line(lambda: decode_image(str(tmp_path / "deep.tif")))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_an_image_that_is_to_be_turned_is_refused(ending: str, tmp_path: Path) -> None:
    image, path = Image.new("RGB", (4, 3)), str(tmp_path / f"photo.{ending}")
    exif = image.getexif()
    for orientation in (UPRIGHT, TURNED):
        exif[ORIENTATION] = orientation
        image.save(path, exif=exif)
        if orientation == UPRIGHT:
            assert decode_image(path).shape == (3, 4, 3)
    assert "stored upright, got EXIF orientation 6 in" in line(lambda: decode_image(path))


def test_a_tiff_is_turned_by_its_own_tag(tmp_path: Path) -> None:
    image, path = Image.new("RGB", (4, 3)), str(tmp_path / "scan.tif")
    image.putpixel((0, 0), (9, 9, 9))
    image.save(path, tiffinfo={ORIENTATION: TURNED})
    turned = decode_image(path)
    assert turned.shape == (4, 3, 3)
    assert turned[0, 2].tolist() == [9, 9, 9]  # clockwise: what was first in its row is last


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_a_file_of_several_images_is_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"moving.{ending}"
    first, *rest = (Image.new("RGB", (4, 3), colour) for colour in ("red", "green", "blue"))
    first.save(path, save_all=True, append_images=rest)
    assert "must hold one image, got 3 in" in line(lambda: decode_image(str(path)))


@pytest.mark.parametrize(
    "place",
    ["train/cat/.ipynb_checkpoints/0-checkpoint.png", "test/dog/.0.png", "train/cat/@eaDir/0.png"],
)
def test_a_copy_that_a_notebook_or_a_file_manager_left_is_named(place: str, folder: Path) -> None:
    list_image_folder(folder)
    (folder / place).parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 3)).save(folder / place)
    assert f"must not be hidden or in __MACOSX or @eaDir, got {folder / place}" in line(
        lambda: list_image_folder(folder)
    )


def test_a_hidden_folder_of_both_parts_is_no_class(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / ".ipynb_checkpoints").mkdir()
        Image.new("RGB", (4, 3)).save(folder / part / ".ipynb_checkpoints" / "0.png")
    assert "got " + str(folder / "train/.ipynb_checkpoints") in line(
        lambda: list_image_folder(folder)
    )


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "train")])
def test_classes_that_differ_in_their_unicode_form_alone_are_shown_letter_by_letter(
    parts: tuple[str, str], folder: Path
) -> None:
    for part, name in zip(parts, ("caf\u00e9", "cafe\u0301"), strict=True):
        (folder / part / name).mkdir()
        Image.new("RGB", (4, 3)).save(folder / part / name / "0.png")
    refused = line(lambda: list_image_folder(folder))
    assert "got 'caf\\xe9' and 'cafe\\u0301' in" in refused or (
        "got 'cafe\\u0301' and 'caf\\xe9' in" in refused
    )


def test_a_pipe_that_is_called_as_an_image_is_named_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "train/cat/1.png")
    assert f"{folder / 'train/cat/1.png'} (OSError: a pipe" in line(
        lambda: list_image_folder(folder)
    )


def test_images_for_which_there_is_no_room_are_refused_with_the_odd_one_or_the_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folder.os, "sysconf", lambda _name: 11)  # 121 bytes in all
    assert "must fit in the machine's memory, got 4 of 4x3, 0.0 GiB" in line(
        lambda: read_image_folder(folder)
    )
    Image.new("RGB", (400, 300)).save(folder / "train/cat/0.png")
    assert "of one size, 400x300 as" in line(lambda: read_image_folder(folder))
