"""The cache of a folder's decoded images: read again, noticed changes, damage, two at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import draw, make_folder, save, the_error, truncate

from suite.basics import files
from suite.data import image_folder
from suite.data.image_folder import image_folder_digest, read_image_folder


def test_second_read_decodes_nothing_and_is_the_same(
    folder: Path, forbid_decoding: Callable[[], None]
) -> None:
    first = read_image_folder(folder)
    forbid_decoding()
    second = read_image_folder(folder)
    assert second.classes == first.classes
    assert second.digest == first.digest == image_folder_digest(folder)
    for one, other in ((first.train, second.train), (first.test, second.test)):
        assert (one.images == other.images).all()
        assert (one.labels == other.labels).all()
        assert other.labels.dtype == np.int64


def test_reading_leaves_the_folder_as_it_was(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    read_image_folder(folder)
    assert sorted(folder.rglob("*")) == before


def test_cache_needs_no_pickle(folder: Path, cache_dir: Path) -> None:
    read_image_folder(folder)
    (entry,) = (path for path in cache_dir.iterdir() if path.is_dir())
    names = sorted(path.name for path in entry.iterdir())
    assert [name for name in names if not name.endswith(".npy")] == ["manifest.json"]
    assert len(names) == 5
    for path in entry.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_two_folders_have_an_entry_each_and_a_relative_path_shares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbid_decoding: Callable[[], None]
) -> None:
    color = make_folder(tmp_path / "one")
    gray = make_folder(tmp_path / "two", shape=(5, 6))
    read_image_folder(color)
    read_image_folder(gray)
    forbid_decoding()
    monkeypatch.chdir(tmp_path / "one/train")
    assert read_image_folder(Path("..")).train.images.shape[1] == 3
    assert read_image_folder(gray).train.images.shape[1] == 1


def test_default_cache_lies_in_the_users_cache_directory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUITE_CACHE_DIR")
    monkeypatch.setattr(files, "user_cache_path", lambda name, _: tmp_path / "user" / name)
    read_image_folder(folder)
    assert list((tmp_path / "user/initialization-memory").glob("folder-*/manifest.json"))


def replace_pixels(folder: Path) -> None:
    save(folder / "train/cat/1.png", draw(200, 5, 6, 3))


def replace_pixels_of_equal_size(folder: Path) -> None:
    path = save(folder / "train/cat/1.bmp", draw(1, 5, 6, 3))
    read_image_folder(folder)
    status = path.stat()
    save(path, draw(201, 5, 6, 3))
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def add_image(folder: Path) -> None:
    save(folder / "train/cat/new.png", draw(202, 5, 6, 3))


def remove_image(folder: Path) -> None:
    (folder / "test/owl/0.png").unlink()


def rename_class(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "cat").rename(folder / part / "lynx")


def rename_image(folder: Path) -> None:
    (folder / "train/cat/0.png").rename(folder / "train/cat/last.png")


def rename_image_among_like_ones(folder: Path) -> None:
    paths = [save(folder / f"train/cat/{k}.bmp", draw(300 + k, 5, 6, 3)) for k in (8, 9)]
    for path in paths:
        os.utime(path, ns=(0, 0))
    read_image_folder(folder)
    paths[0].rename(paths[0].with_name("91.bmp"))


def move_image(folder: Path) -> None:
    (folder / "train/cat/0.png").rename(folder / "train/dog/moved.png")


@pytest.mark.parametrize(
    "change",
    [
        replace_pixels,
        replace_pixels_of_equal_size,
        add_image,
        remove_image,
        rename_class,
        rename_image,
        rename_image_among_like_ones,
        move_image,
    ],
)
def test_changed_folder_is_decoded_anew(
    change: Callable[[Path], None],
    folder: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = read_image_folder(folder).digest
    change(folder)
    changed = read_image_folder(folder)
    digest = image_folder_digest(folder)
    monkeypatch.setenv("SUITE_CACHE_DIR", str(cache_dir / "other"))
    fresh = read_image_folder(folder)
    assert before != changed.digest == fresh.digest == digest
    assert changed.classes == fresh.classes
    assert np.array_equal(changed.train.images, fresh.train.images)
    assert np.array_equal(changed.test.labels, fresh.test.labels)


def test_digest_alone_notices_a_changed_folder(folder: Path) -> None:
    before = image_folder_digest(folder)
    add_image(folder)
    assert image_folder_digest(folder) == read_image_folder(folder).digest != before


def test_class_emptied_or_added_after_caching_is_still_an_error(folder: Path) -> None:
    read_image_folder(folder)
    (folder / "train/yak").mkdir()
    assert "class yak in train/" in the_error(folder)
    (folder / "test/yak").mkdir()
    assert f"none in {folder / 'train/yak'}" in the_error(folder)


def flip_a_pixel(entry: Path) -> None:
    content = bytearray((entry / "train_images.npy").read_bytes())
    content[-1] ^= 1
    (entry / "train_images.npy").write_bytes(content)


def forge_labels(entry: Path) -> None:
    np.save(entry / "test_labels.npy", np.zeros(6, np.int64))


def alter_manifest(**values: Any) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        manifest = json.loads((entry / "manifest.json").read_text())
        (entry / "manifest.json").write_text(json.dumps(manifest | values))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        forge_labels,
        lambda entry: truncate(entry / "train_images.npy"),
        lambda entry: truncate(entry / "train_labels.npy", keep=0),
        lambda entry: (entry / "test_images.npy").unlink(),
        lambda entry: (entry / "manifest.json").write_text("{"),
        lambda entry: (entry / "manifest.json").write_text("[]"),
        lambda entry: (entry / "manifest.json").unlink(),
        lambda entry: (entry / "manifest.json").write_text("[" * 100_000),
        alter_manifest(format=0),
        alter_manifest(digest=None),
        alter_manifest(classes=3),
    ],
)
def test_damaged_entry_is_decoded_anew(
    damage: Callable[[Path], Any],
    folder: Path,
    cache_dir: Path,
    forbid_decoding: Callable[[], None],
) -> None:
    read_image_folder(folder)
    (entry,) = (path for path in cache_dir.iterdir() if path.is_dir())
    damage(entry)
    decoded: list[int] = []
    parts = read_image_folder(folder, lambda done, _: decoded.append(done))
    assert decoded[-1] == 18
    assert (parts.train.images[0] == draw(0, 5, 6, 3).transpose(2, 0, 1)).all()
    assert parts.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert parts.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    forbid_decoding()
    assert read_image_folder(folder).digest == parts.digest


def test_two_at_once_decode_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    original = image_folder.decode_image

    def slow(path: str) -> Any:
        decoded.append(path)
        time.sleep(0.01)  # so that the second starts while the first is decoding
        return original(path)

    monkeypatch.setattr(image_folder, "decode_image", slow)
    digests: list[str] = []
    threads = [
        threading.Thread(target=lambda: digests.append(read_image_folder(folder).digest))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(digests)) == 1
    assert len(digests) == 3
    assert len(set(decoded)) == 18
    assert len(decoded) == 19  # the first image is decoded twice: once to learn its size


@pytest.mark.slow
def test_two_processes_at_once_decode_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images", train=300)
    code = (
        "import sys; from pathlib import Path;"
        "from suite.data.image_folder import read_image_folder; calls = [];"
        "parts = read_image_folder(Path(sys.argv[1]), lambda *call: calls.append(call));"
        "print(parts.digest, len(calls) > 0)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    root = Path(image_folder.__file__).parents[1]
    processes = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert outputs[0][0] == outputs[1][0] == read_image_folder(folder).digest
    assert sorted(output[1] for output in outputs) == ["False", "True"]
