"""Folders of images, drawn here, and what the reader says of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.data.image_folder import DataError, read_image_folder

CLASSES = ("cat", "dog", "owl")


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_folder(root: Path, shape: tuple[int, ...] = (5, 6, 3), train: int = 4) -> Path:
    seed = 0
    for part, count in (("train", train), ("test", 2)):
        for name in CLASSES:
            for index in range(count):
                save(root / part / name / f"{index:0{len(str(count - 1))}}.png", draw(seed, *shape))
                seed += 1
    return root


def the_error(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_image_folder(folder)
    message = str(caught.value)
    assert "\n" not in message
    field, _, rest = message.partition(": ")
    assert field in ("data_dir", "SUITE_CACHE_DIR")
    assert ", got " in rest
    assert rest.rpartition("; ")[2]
    return message


def truncate(path: Path, keep: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
