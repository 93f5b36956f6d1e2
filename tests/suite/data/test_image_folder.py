"""The folder reader against images drawn here, torchvision's own reading and hashlib."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from image_folders import CLASSES, draw, make_folder, save, the_error, truncate
from PIL import Image

from suite.data import image_folder
from suite.data.image_folder import DataError, image_folder_digest, read_image_folder


def test_accepted_endings_are_those_of_torchvision() -> None:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert image_folder.EXTENSIONS == IMG_EXTENSIONS


def test_pixels_labels_and_classes_are_those_written(folder: Path) -> None:
    parts = read_image_folder(folder)
    assert parts.classes == CLASSES
    assert parts.train.images.shape == (12, 3, 5, 6)
    assert parts.test.images.shape == (6, 3, 5, 6)
    assert parts.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert parts.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert parts.train.labels.dtype == np.int64
    for index in range(12):
        assert (parts.train.images[index] == draw(index, 5, 6, 3).transpose(2, 0, 1)).all()
    for index in range(6):
        assert (parts.test.images[index] == draw(12 + index, 5, 6, 3).transpose(2, 0, 1)).all()


def test_order_and_pixels_are_those_of_torchvision_with_nested_and_odd_names(folder: Path) -> None:
    from torchvision.datasets import ImageFolder

    for seed, name in enumerate(("b/1.png", "a-b/1.PNG", "a/z/1.bmp", "10.png", "a/2.jpg")):
        save(folder / "train/dog" / name, draw(100 + seed, 5, 6, 3))
    (folder / "train/dog/notes.txt").write_text("not an image")
    reference = ImageFolder(folder / "train")
    read = read_image_folder(folder).train
    assert read.labels.tolist() == reference.targets
    assert len(reference) == 17
    for image, (expected, _) in zip(read.images, reference, strict=True):
        assert (image == np.asarray(expected).transpose(2, 0, 1)).all()


def test_gray_folder_has_one_channel(tmp_path: Path) -> None:
    parts = read_image_folder(make_folder(tmp_path / "gray", shape=(5, 6)))
    assert parts.train.images.shape == (12, 1, 5, 6)
    assert parts.train.images.flags.c_contiguous
    for index in range(12):
        assert (parts.train.images[index, 0] == draw(index, 5, 6)).all()


def test_one_color_image_makes_all_images_rgb(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "mostly-gray", shape=(5, 6))
    save(folder / "test/cat/1.png", draw(50, 5, 6, 3))
    parts = read_image_folder(folder)
    assert parts.train.images.shape[1] == 3
    assert (parts.train.images[0] == draw(0, 5, 6)).all()
    assert (parts.test.images[1] == draw(50, 5, 6, 3).transpose(2, 0, 1)).all()
    assert (parts.test.images[2] == draw(14, 5, 6)).all()


@pytest.mark.parametrize("mode", ["1", "LA", "RGBA", "P", "P-transparent", "CMYK"])
def test_image_modes_are_read_as_torchvision_reads_them(mode: str, tmp_path: Path) -> None:
    from torchvision.datasets.folder import pil_loader

    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image = Image.fromarray(draw(7, 5, 6, 3)).convert(mode.partition("-")[0])
    image.save(path, **({"transparency": 3} if mode == "P-transparent" else {}))
    pixels = image_folder.decode_image(str(path))
    assert pixels.ndim == (2 if mode in ("1", "LA") else 3)
    expected = np.asarray(pil_loader(path))
    assert (pixels[..., None] == expected).all() if pixels.ndim == 2 else (pixels == expected).all()


def test_palette_with_transparency_for_each_color_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    image = Image.fromarray(draw(7, 5, 6, 3)).convert("P")
    image.save(path, transparency=bytes(range(255)))
    assert (image_folder.decode_image(str(path)) == np.asarray(image.convert("RGB"))).all()


def test_many_threads_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert image_folder._threads(draw(0, 64, 64)) == 4
    assert image_folder._threads(draw(0, 32, 32)) == 1
    folder = make_folder(tmp_path / "large", shape=(64, 64), train=40)
    images = read_image_folder(folder).train.images
    assert all((images[index, 0] == draw(index, 64, 64)).all() for index in range(120))


def test_progress_rises_to_the_number_of_images(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    read_image_folder(
        make_folder(tmp_path / "images", train=100), lambda done, total: calls.append((done, total))
    )
    assert {total for _, total in calls} == {306}
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1] == (306, 306)
    assert 50 < len(calls) <= 100


# Errors


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
def test_truncated_image_is_named(ending: str, folder: Path) -> None:
    path = save(folder / f"train/dog/broken.{ending}", draw(1, 5, 6, 3))
    truncate(path)
    message = the_error(folder)
    assert str(path.relative_to(folder)) in message
    assert "repair or remove" in message


@pytest.mark.parametrize(
    "content", [b"", b"not an image\nat all", b"\x89PNG\r\n\x1a\n" + b"\0" * 40]
)
def test_file_that_is_no_image_is_named(content: bytes, folder: Path) -> None:
    (folder / "test/owl/1.png").write_bytes(content)
    assert "test/owl/1.png" in the_error(folder)


def test_first_image_may_be_the_broken_one(folder: Path) -> None:
    truncate(folder / "train/cat/0.png")
    assert "train/cat/0.png" in the_error(folder)


def test_dangling_link_is_named(folder: Path) -> None:
    (folder / "train/dog/9.png").symlink_to(folder / "nowhere.png")
    assert "train/dog/9.png" in the_error(folder)


def test_images_deeper_than_8_bits_are_refused(folder: Path) -> None:
    path = folder / "train/owl/deep.png"
    Image.fromarray(np.full((5, 6), 40_000, np.uint16)).save(path)
    message = the_error(folder)
    assert "train/owl/deep.png" in message
    assert "8 bits" in message


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_part_is_named(part: str, folder: Path) -> None:
    (folder / part).rename(folder / "elsewhere")
    message = the_error(folder)
    assert f"directory {part}/" in message
    assert str(folder) in message


def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"no directory {tmp_path / 'nowhere'}" in the_error(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["train", "test"])
def test_empty_class_is_named(part: str, folder: Path) -> None:
    for path in (folder / part / "dog").iterdir():
        path.rename(path.with_suffix(".txt"))
    assert f"none in {folder / part / 'dog'}" in the_error(folder)


@pytest.mark.parametrize(("part", "other"), [("train", "test"), ("test", "train")])
def test_class_in_one_part_only_is_named(part: str, other: str, folder: Path) -> None:
    save(folder / part / "yak/0.png", draw(0, 5, 6, 3))
    assert f"class yak in {part}/ but not in {other}/" in the_error(folder)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / f"images/{part}/cat/0.png", draw(0, 5, 6, 3))
    assert "at least 2 classes, got 1 (cat)" in the_error(tmp_path / "images")


@pytest.mark.parametrize("layout", [["train", "test"], ["train/cat", "test/cat"]])
def test_folder_without_images_is_refused(layout: list[str], tmp_path: Path) -> None:
    for directory in layout:
        (tmp_path / "images" / directory).mkdir(parents=True)
    assert f"no images under {tmp_path / 'images'}" in the_error(tmp_path / "images")


@pytest.mark.parametrize("odd", ["train/dog/2.png", "test/cat/1.png"])
def test_first_image_of_another_size_is_named_with_both_sizes(odd: str, folder: Path) -> None:
    save(folder / odd, draw(0, 7, 9, 3))
    save(folder / "test/owl/1.png", draw(0, 1, 1, 3))
    message = the_error(folder)
    assert f"9x7 in {folder / odd}" in message
    assert f"6x5 as {folder / 'train/cat/0.png'}" in message
    assert "resize" in message


def test_error_passes_between_processes(folder: Path) -> None:
    truncate(folder / "train/cat/0.png")
    with pytest.raises(DataError) as caught:
        read_image_folder(folder)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_unusable_cache_directory_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(folder / "train/cat/0.png/cache"))
    message = the_error(folder)
    assert message.startswith("SUITE_CACHE_DIR: ")
    assert str(folder / "train/cat/0.png/cache") in message


def test_full_disk_is_reported_and_leaves_no_entry(
    folder: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []

    def fill(path: Path, array: np.ndarray) -> None:
        if saved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved.append(path.write_bytes(b"half an array"))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", fill)
        assert "No space left on device" in the_error(folder)
    assert saved
    assert [path for path in cache_dir.iterdir() if path.is_dir()] == []
    assert len(read_image_folder(folder).train.images) == 12


# Digest


def test_digest_is_the_documented_sha256(folder: Path) -> None:
    sha256 = hashlib.sha256(b'["cat", "dog", "owl"]')
    for first, count, labels in ((0, 12, [0] * 4 + [1] * 4 + [2] * 4), (12, 6, [0, 0, 1, 1, 2, 2])):
        sha256.update(f"[{count}, 3, 5, 6]".encode())
        for seed in range(first, first + count):
            sha256.update(draw(seed, 5, 6, 3).transpose(2, 0, 1).tobytes())
        for label in labels:
            sha256.update(label.to_bytes(8, "little"))
    assert read_image_folder(folder).digest == sha256.hexdigest()[:16]


def test_digest_is_of_the_content_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    assert image_folder_digest(folder) == image_folder_digest(make_folder(tmp_path / "copy"))
