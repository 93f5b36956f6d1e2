"""CIFAR-10 against hand-made batches.

They are written here byte by byte as Python 2 and an old NumPy pickled the published ones, with
their own checksums put in the published ones' place; a web server on this machine stands for the
publisher's.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import pickle
import struct
import tarfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import assert_one_line

from suite.data import cifar10
from suite.data.splits import (
    DataError,
    ImageData,
    load,
)

NAMES = ["airplane", "automobile", "bird", "cat", "deer"]
NAMES += ["dog", "frog", "horse", "ship", "truck"]
PER_BATCH = 10


def python2_string(text: bytes) -> bytes:
    if len(text) < 256:
        return b"U" + bytes([len(text)]) + text
    return b"T" + struct.pack("<i", len(text)) + text


def python2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """Pickle {'data': uint8 array, 'labels': list} as Python 2 did (protocol 2)."""
    rows, columns = (b"M" + struct.pack("<H", size) for size in pixels.shape)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    array += python2_string(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + python2_string(b"u1") + b"K\x00K\x01\x87R(K\x03"
    dtype += python2_string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + rows + columns + b"\x86" + dtype + b"\x89"
    state += python2_string(pixels.tobytes()) + b"tb"
    items = python2_string(b"data") + array + state
    items += python2_string(b"labels") + b"](" + b"".join(b"K" + bytes([k]) for k in labels) + b"e"
    return b"\x80\x02}(" + items + b"u."


def python2_meta() -> bytes:
    names = b"".join(python2_string(name.encode()) for name in NAMES)
    return b"\x80\x02}(" + python2_string(b"label_names") + b"](" + names + b"eu."


def batch_content(number: int) -> tuple[np.ndarray, list[int]]:
    generator = np.random.RandomState(number)
    pixels = generator.randint(0, 256, (PER_BATCH, 3072)).astype(np.uint8)
    return pixels, generator.randint(0, 10, PER_BATCH).tolist()


class Server(http.server.ThreadingHTTPServer):
    """Serves one archive, counts how often it was asked for, can break off half-way."""

    archive = b""
    broken = False
    downloads = 0


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        size = len(self.server.archive)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.headers["Method"] == "HEAD":  # torchvision, on the watch for redirections
            return
        self.server.downloads += 1
        self.wfile.write(self.server.archive[: size // 2 if self.server.broken else size])

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output free of the access log."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def files(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Name to bytes of a small CIFAR-10 whose checksums and address torchvision now knows."""
    from torchvision.datasets import CIFAR10

    def md5(content: bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    files = {name: python2_batch(*batch_content(k)) for k, name in enumerate(names, start=1)}
    files["batches.meta"] = python2_meta()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    server.archive = stream.getvalue()
    sums = [[name, md5(files[name])] for name in names]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(files["batches.meta"])})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(server.archive))
    address = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
    monkeypatch.setattr(CIFAR10, "url", address)
    return files


@pytest.fixture
def batches(files: dict[str, bytes], tmp_path: Path) -> Path:
    directory = tmp_path / "cifar/cifar-10-batches-py"
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def assert_is_the_small_cifar10(read: ImageData) -> None:
    assert (read.name, read.classes) == ("cifar10", tuple(NAMES))
    assert (read.channels, read.height, read.width, read.num_classes) == (3, 32, 32, 10)
    assert (len(read.train), len(read.validation), len(read.test)) == (40, 10, 10)
    pixels, labels = zip(*(batch_content(number) for number in range(1, 6)), strict=True)
    order = np.random.RandomState(42).permutation(50)
    for part, rows, expected, indices in (
        (read.validation, np.vstack(pixels), np.hstack(labels), order[:10]),
        (read.train, np.vstack(pixels), np.hstack(labels), order[10:]),
        (read.test, *map(np.asarray, batch_content(6)), np.arange(10)),
    ):
        assert part.images.is_contiguous()
        assert part.labels.tolist() == expected[indices].tolist()
        # A row holds the red, the green and the blue plane, each line by line (the format's page).
        for image, row in zip(part.images.numpy(), rows[indices], strict=True):
            assert image[0].tobytes() == row[:1024].tobytes()
            assert image[1].tobytes() == row[1024:2048].tobytes()
            assert image[2].tobytes() == row[2048:].tobytes()


def test_cifar10_batches_are_read_without_network(batches: Path, server: Server) -> None:
    assert_is_the_small_cifar10(load("cifar10", batches.parent))
    assert server.downloads == 0


def test_cifar10_is_read_without_the_warning_of_some_numpy_versions(
    batches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import cifar

    original = pickle.load
    warned = []

    def load_as_numpy_2_4_0(*arguments: Any, **options: Any) -> Any:
        message = "dtype(): align should be passed as Python or NumPy boolean but got `align=0`."
        warned.append(warnings.warn(message, np.exceptions.VisibleDeprecationWarning))
        return original(*arguments, **options)

    monkeypatch.setattr(cifar.pickle, "load", load_as_numpy_2_4_0)
    assert_is_the_small_cifar10(load("cifar10", batches.parent))
    assert warned


def test_cifar10_is_downloaded_once_and_leaves_nothing_else(
    files: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    root = tmp_path / "new/data"
    first = load("cifar10", root)
    assert_is_the_small_cifar10(first)
    assert load("cifar10", root).digest == first.digest
    assert server.downloads == 1
    names = {path.name for path in root.iterdir()} - {"cifar10.lock"}
    assert names == {"cifar-10-batches-py"}


@pytest.mark.parametrize("download", [True, False])
def test_cifar10_archive_put_there_by_hand_is_unpacked_without_network(
    download: bool, files: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(server.archive)
    assert_is_the_small_cifar10(load("cifar10", tmp_path, download=download))
    assert server.downloads == 0
    assert (tmp_path / "cifar-10-python.tar.gz").read_bytes() == server.archive


def test_cifar10_starting_several_times_at_once_downloads_once(
    files: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    errors: list[BaseException] = []

    def provide() -> None:
        try:
            cifar10._provide_cifar10(tmp_path, download=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=provide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert server.downloads == 1
    assert_is_the_small_cifar10(load("cifar10", tmp_path))


def assert_names_the_remedies(error: DataError, root: Path) -> None:
    assert_one_line(
        error,
        "data_dir: must hold CIFAR-10",
        str(root),
        "put cifar-10-python.tar.gz or cifar-10-batches-py there",
        "dataset=digits or dataset=folder",
    )


def test_cifar10_without_files_and_network_says_what_to_do(
    files: dict[str, bytes], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    with Server(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{port}/cifar-10-python.tar.gz")
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path)
    assert_names_the_remedies(caught.value, tmp_path)
    assert "refused" in str(caught.value)


def test_cifar10_without_files_and_download_off_asks_no_server(
    files: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path / "new", download=False)
    assert_names_the_remedies(caught.value, tmp_path / "new")
    assert server.downloads == 0
    assert not (tmp_path / "new").exists()


def test_cifar10_download_that_breaks_off_leaves_nothing_and_can_be_repeated(
    files: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    server.broken = True
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path)
    assert_names_the_remedies(caught.value, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"cifar10.lock"}
    server.broken = False
    assert_is_the_small_cifar10(load("cifar10", tmp_path))


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_4", "test_batch", "batches.meta"])
@pytest.mark.parametrize("fate", ["damaged", "missing"])
def test_cifar10_damaged_or_missing_batch_is_named(
    name: str, fate: str, batches: Path, server: Server
) -> None:
    path = batches / name
    if fate == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    else:
        path.unlink()
    with pytest.raises(DataError) as caught:
        load("cifar10", batches.parent)
    assert_one_line(caught.value, f"got {path} ({fate})", f"remove {batches} ")
    assert server.downloads == 0


def test_cifar10_damaged_archive_is_named_and_kept(
    files: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(server.archive[:-5])
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path)
    assert_one_line(caught.value, f"got {archive} (damaged)", f"remove {archive} ")
    assert archive.exists()
    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_cifar10_directory_that_cannot_be_made_is_named(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path / "file/data")
    assert_one_line(caught.value, "data_dir: must be a writable directory", "file/data")


def test_data_directory_is_argument_then_environment_then_data(
    batches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(batches.parent.parent)
    monkeypatch.delenv("SUITE_DATA_DIR", raising=False)
    batches.parent.rename("data")
    assert len(load("cifar10", None, download=False).train) == 40
    Path("data").rename("elsewhere")
    monkeypatch.setenv("SUITE_DATA_DIR", "elsewhere")
    assert len(load("cifar10", None, download=False).train) == 40
    with pytest.raises(DataError, match="got nowhere without it"):
        load("cifar10", Path("nowhere"), download=False)


def test_cifar10_digest_is_of_the_content_not_of_the_place(batches: Path) -> None:
    first = load("cifar10", batches.parent)
    moved: Any = batches.parent.rename(batches.parent.with_name("moved"))
    assert load("cifar10", moved, validation_fraction=0.5).digest == first.digest
