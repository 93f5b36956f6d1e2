"""Data sets and their split against scikit-learn and known permutations."""

from __future__ import annotations

import ast
import hashlib
import itertools
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import assert_one_line
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from suite.data import cifar10, image_cache, image_folder
from suite.data import parts as image_parts
from suite.data import splits as data
from suite.data.splits import (
    DATASET_SIZES,
    DataError,
    ImageData,
    Split,
    folder_digest,
    load,
    split_sizes,
)

# NumPy's RandomState(42).permutation(10), as its documentation and countless pages show it.
PERMUTATION_OF_10 = [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]


# Split


@given(
    n=st.integers(0, 100_000),
    validation_fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    train_fraction=st.floats(0, 1, exclude_min=True),
)
def test_split_is_never_empty_never_too_large_and_near_the_fractions(
    n: int, validation_fraction: float, train_fraction: float
) -> None:
    try:
        train, validation = split_sizes(n, validation_fraction, train_fraction)
    except DataError as error:
        held = n * validation_fraction
        kept = (n - round(held)) * train_fraction
        assert held <= 0.5 or n - held <= 0.5 or kept <= 0.5
        assert_one_line(error)
        return
    assert train > 0
    assert validation > 0
    assert train + validation <= n
    assert abs(validation - n * validation_fraction) <= 0.5
    assert abs(train - (n - validation) * train_fraction) <= 0.5
    assert split_sizes(n, validation_fraction, 1.0) == (n - validation, validation)


def test_split_of_cifar10_is_the_papers() -> None:
    assert split_sizes(DATASET_SIZES["cifar10"][0], 0.2, 1.0) == (40_000, 10_000)
    assert DATASET_SIZES["cifar10"][1] == 10_000


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_validation_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match=r"^validation_fraction: ") as caught:
        split_sizes(100, fraction, 1.0)
    assert_one_line(caught.value, f"got {fraction}")


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_train_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match=r"^train_fraction: ") as caught:
        split_sizes(100, 0.2, fraction)
    assert_one_line(caught.value, f"got {fraction}")


@pytest.mark.parametrize(
    ("n", "validation_fraction", "train_fraction", "field"),
    [
        (0, 0.2, 1.0, "validation_fraction"),
        (2, 0.2, 1.0, "validation_fraction"),
        (2, 0.9, 1.0, "validation_fraction"),
        (10, 0.2, 0.05, "train_fraction"),
    ],
)
def test_empty_part_is_refused(
    n: int, validation_fraction: float, train_fraction: float, field: str
) -> None:
    with pytest.raises(DataError, match=f"^{field}: ") as caught:
        split_sizes(n, validation_fraction, train_fraction)
    assert_one_line(caught.value, "must leave")


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_bad_fraction_is_refused_before_the_data_are_read(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^train_fraction: "):
        load(dataset, tmp_path / "nowhere", train_fraction=2.0)


def test_unknown_data_set_is_refused() -> None:
    with pytest.raises(DataError, match=r"^dataset: .*digits, cifar10 or folder, got mnist; "):
        load("mnist", None)


# digits


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load("digits", None)


def test_digits_have_their_published_sizes(digits: ImageData) -> None:
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1150, 288, 359)
    assert DATASET_SIZES["digits"] == (1150 + 288, 359)
    assert (digits.name, digits.channels, digits.height, digits.width) == ("digits", 1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.num_classes == 10
    for part in (digits.train, digits.validation, digits.test):
        assert part.images.dtype == torch.uint8
        assert part.images.is_contiguous()
        assert part.images.shape == (len(part), 1, 8, 8)
        assert part.labels.dtype == torch.int64
        assert part.labels.shape == (len(part),)


def expected_digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    # In integers, a half (8 of 16 gives 127.5) rounded up, which is also to the even number.
    return (pixels.astype(np.int64) * 255 * 2 + 16) // 32, labels


def content(part: Split) -> list[tuple[bytes, int]]:
    pixels = part.images.numpy().reshape(len(part), -1).astype(np.int64)
    return [(row.tobytes(), int(label)) for row, label in zip(pixels, part.labels, strict=True)]


def test_digits_parts_cover_scikit_learns_once(digits: ImageData) -> None:
    pixels, labels = expected_digits()
    whole = Counter((row.tobytes(), int(label)) for row, label in zip(pixels, labels, strict=True))
    parts = [content(part) for part in (digits.train, digits.validation, digits.test)]
    assert len(whole) == 1797  # no digit is there twice, so equal counts mean disjoint parts
    assert Counter(itertools.chain(*parts)) == whole


def test_digits_are_split_by_the_documented_permutations(digits: ImageData) -> None:
    pixels, labels = expected_digits()
    order = np.random.RandomState(42).permutation(1797)
    rest = order[359:][np.random.RandomState(42).permutation(1438)]
    for part, indices in (
        (digits.test, order[:359]),
        (digits.validation, rest[:288]),
        (digits.train, rest[288:]),
    ):
        assert (part.images.numpy().reshape(len(part), -1) == pixels[indices]).all()
        assert (part.labels.numpy() == labels[indices]).all()


def test_digits_and_their_split_never_change(digits: ImageData) -> None:
    assert digits.digest == "eee625d5e086cdcc"
    sha256 = hashlib.sha256()
    for part in (digits.train, digits.validation, digits.test):
        sha256.update(part.images.numpy().tobytes())
        sha256.update(part.labels.numpy().tobytes())
    assert sha256.hexdigest()[:16] == "8cb17fb276e1cc9f"


def test_train_fraction_keeps_the_first_images_and_leaves_the_other_parts(
    digits: ImageData,
) -> None:
    part = load("digits", None, train_fraction=0.25)
    assert len(part.train) == round(1150 * 0.25)
    assert torch.equal(part.train.images, digits.train.images[: len(part.train)])
    assert torch.equal(part.train.labels, digits.train.labels[: len(part.train)])
    assert torch.equal(part.validation.images, digits.validation.images)
    assert torch.equal(part.test.images, digits.test.images)
    assert part.digest == digits.digest


def test_split_neither_uses_nor_touches_global_random_state(digits: ImageData) -> None:
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        again = load("digits", None)
        assert torch.equal(again.train.images, digits.train.images)
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1:] == (random.getstate(), str(np.random.get_state()))


def test_to_moves_every_part(digits: ImageData) -> None:
    moved = digits.to("meta")
    for part in (moved.train, moved.validation, moved.test):
        assert part.images.device.type == "meta"
        assert part.labels.device.type == "meta"
    assert (moved.classes, moved.digest, moved.name) == (
        digits.classes,
        digits.digest,
        digits.name,
    )
    assert digits.train.images.device.type == "cpu"


def test_module_imports_neither_torchvision_nor_sklearn_until_asked() -> None:
    for module in (cifar10, data, image_cache, image_folder, image_parts):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in top for alias in node.names}
        names |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
        assert names
        assert not [name for name in names if name.startswith(("torchvision", "sklearn"))]


@pytest.mark.slow
def test_digits_start_without_torchvision() -> None:
    code = (
        "import sys; from suite.data.splits import load; load('digits', None);"
        "print([name for name in ('torchvision', 'sklearn') if name in sys.modules])"
    )
    root = Path(data.__file__).parents[1]
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "['sklearn']"


# folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold ten training images, the k-th (in order) uniformly of brightness k."""
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    for part, count in (("train", 5), ("test", 1)):
        for position, name in enumerate(("cat", "dog")):
            directory = tmp_path / "images" / part / name
            directory.mkdir(parents=True)
            for index in range(count):
                pixels = np.full((3, 4, 3), position * count + index, np.uint8)
                Image.fromarray(pixels).save(directory / f"{index}.png")
    return tmp_path / "images"


def brightness(part: Split) -> list[int]:
    return part.images[:, 0, 0, 0].tolist()


def test_folder_is_split_by_the_fixed_permutation(folder: Path) -> None:
    read = load("folder", folder)
    assert brightness(read.validation) == PERMUTATION_OF_10[:2]
    assert brightness(read.train) == PERMUTATION_OF_10[2:]
    assert brightness(read.test) == [0, 1]
    assert read.train.labels.tolist() == [index // 5 for index in PERMUTATION_OF_10[2:]]
    assert (read.name, read.classes) == ("folder", ("cat", "dog"))
    assert (read.channels, read.height, read.width, read.num_classes) == (3, 3, 4, 2)
    part = load("folder", folder, validation_fraction=0.3, train_fraction=0.5)
    assert brightness(part.validation) == PERMUTATION_OF_10[:3]
    assert brightness(part.train) == PERMUTATION_OF_10[3:7]  # 3.5 is rounded to the even 4


def test_folder_from_the_cache_is_the_same_and_may_be_written_to(folder: Path) -> None:
    first = load("folder", folder)
    second = load("folder", folder)
    assert torch.equal(first.train.images, second.train.images)
    second.test.images.fill_(7)
    second.test.labels.fill_(1)
    assert brightness(load("folder", folder).test) == [0, 1]


def test_folder_digest_is_that_of_the_data(folder: Path) -> None:
    digest = folder_digest(folder)
    assert digest == load("folder", folder, train_fraction=0.5).digest
    assert len(digest) == 16
    assert int(digest, 16) >= 0


def test_decoding_is_shown_on_stderr_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("folder", folder)
    output = capsys.readouterr()
    assert "decoding images: 12/12" in output.err
    assert output.out == ""
    load("folder", folder)
    assert capsys.readouterr().err == ""


def test_a_log_gets_about_ten_lines_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    for done in range(600, 60_001, 600):
        data._progress_on_stderr(done, 60_000)
    lines = capsys.readouterr().err.splitlines()
    assert 9 <= len(lines) <= 11
    assert lines[-1] == "decoding images: 60000/60000"


def test_folder_too_small_to_split_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"^validation_fraction: must leave"):
        load("folder", folder, validation_fraction=0.01)


def test_folder_errors_are_data_errors(folder: Path) -> None:
    (folder / "train/dog/3.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError) as caught:
        load("folder", folder)
    assert_one_line(caught.value, "train/dog/3.png")
