"""Checkpoints: the same bits back, and one line for what is broken."""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import struct
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import nothing, rewrite, with_flipped_bit
from hypothesis import given
from hypothesis.strategies import DataObject, data, integers
from safetensors import safe_open
from safetensors.torch import save_file

from suite.declarations.config import parse
from suite.declarations.metrics import EpochRecord
from suite.engine.checkpoint import (
    CheckpointError,
    MisfitError,
    RefusedError,
    RunState,
    load,
    save,
)

NAN = math.nan


def some_state(seed: int = 0, **settings: Any) -> RunState:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    awkward = torch.tensor([NAN, math.inf, -0.0, 5e-324, 1e308], dtype=torch.float64)
    return RunState(
        config=parse({"learning_rate": 0.1 + 0.2, "seed": 2**63 - 1} | settings),
        tensors={
            "parameters": {
                "stage1.1.a.kernel": numbers(3, 2, 3, 3, dtype=torch.float32),
                "awkward": awkward,
                "half": numbers(4, dtype=torch.bfloat16),
            },
            "buffers": {"bn.num_batches_tracked": torch.tensor(7)},
            "moment_first": {"turned": numbers(3, 4, dtype=torch.float64).T},
        },
        history=[
            EpochRecord(1, 1_764_000_000_123, 2.3, 0.1, 1 / 3, 0.2, 5e-324, 1e-3),
            EpochRecord(2, 1_764_000_000_124, NAN, 0.1, math.inf, 0.1 + 0.2, -math.inf, 1e-5),
        ],
        kernel_norm_initial=math.pi,
    )


def bits(tensor: torch.Tensor) -> bytes:
    array = tensor.contiguous().view(-1).view(torch.uint8)
    return bytes(array.numpy())


def assert_same_state(ours: RunState | None, theirs: RunState) -> None:
    assert ours is not None
    assert ours.config == theirs.config
    assert ours.config.fingerprint == theirs.config.fingerprint
    assert ours.kernel_norm_initial == theirs.kernel_norm_initial
    assert [repr(record) for record in ours.history] == [repr(record) for record in theirs.history]
    assert {g: set(part) for g, part in ours.tensors.items()} == {
        g: set(part) for g, part in theirs.tensors.items()
    }
    for group, part in theirs.tensors.items():
        for name, tensor in part.items():
            read = ours.tensors[group][name]
            assert (read.shape, read.dtype) == (tensor.shape, tensor.dtype)
            assert bits(read) == bits(tensor)


def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save(some_state(), path)
    assert_same_state(load(path), some_state())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_there_is_no_state_where_there_is_no_file(tmp_path: Path) -> None:
    assert load(tmp_path / "run.safetensors") is None


def test_file_is_safetensors_that_others_read_and_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save(some_state(), path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    about = header.pop("__metadata__")
    assert set(about) == {"config", "digest", "epochs", "history", "kernel_norm_initial"}
    assert json.loads(about["config"])["sigma_w"] == 1.0
    begin, end = header["parameters/awkward"]["data_offsets"]
    numbers = np.frombuffer(content[8 + length :][begin:end], "<f8")
    assert bits(torch.from_numpy(numbers.copy())) == bits(
        some_state().tensors["parameters"]["awkward"]
    )


def whole(path: Path) -> bytes:
    save(some_state(), path)
    return path.read_bytes()


def rewritten(path: Path, *, sealed: bool = True, **changes: str) -> bytes:
    """The file with other texts, under a digest that is right."""
    save(some_state(), path)
    rewrite(path, lambda _, texts: texts.update(changes), sealed=sealed)
    return path.read_bytes()


def records() -> list[dict[str, Any]]:
    return [asdict(record) for record in some_state().history]


BROKEN = {
    "empty": lambda _: b"",
    "text": lambda _: b"not a checkpoint at all, only text",
    "cut in the numbers": lambda path: whole(path)[:-10],
    "cut in the header": lambda path: whole(path)[:100],
    "zeroed header": lambda path: b"\0" * 64 + whole(path)[64:],
    "flipped digit in the history": lambda path: whole(path).replace(b"0.1,", b"0.3,", 1),
    "flipped bit of an exponent": lambda path: with_flipped_bit(
        whole(path), 8 * len(whole(path)) - 2
    ),
    "history is no json": lambda path: rewritten(path, history="[{"),
    "history of another suite": lambda path: rewritten(path, history='[{"epoch": 1}]'),
    "history one epoch short": lambda path: rewritten(path, history=json.dumps(records()[:1])),
    "history without its first epoch": lambda path: rewritten(
        path, history=json.dumps(records()[1:]), epochs="1"
    ),
    "history with a gap, of a version without digest": lambda path: rewritten(
        path, sealed=False, history=json.dumps(records()[1:])
    ),
    "history of words": lambda path: rewritten(
        path, history=json.dumps([record | {"val_loss": "low"} for record in records()])
    ),
    "history is empty": lambda path: rewritten(path, history="[]", epochs="0"),
    "history is a number": lambda path: rewritten(path, history="7"),
    "history nested deeply": lambda path: rewritten(path, history="[" * 100_000),
    "config nested deeply": lambda path: rewritten(path, config='{"a":' * 100_000),
    "config nested deeply, of a version without digest": lambda path: rewritten(
        path, sealed=False, config="[" * 100_000 + "]" * 100_000
    ),
    "epochs are no number": lambda path: rewritten(path, epochs="two"),
    "norm is no number": lambda path: rewritten(path, kernel_norm_initial="big"),
    "settings of a later suite": lambda path: rewritten(path, config='{"hue": 1, "tone": 2}'),
    "config is a list": lambda path: rewritten(path, config="[]"),
    "more texts than there are": lambda path: rewritten(path, mood="good"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_file_is_answered_in_one_line_with_the_file_and_the_remedy(
    damage: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(BROKEN[damage](path))
    with pytest.raises(RefusedError) as error:
        load(path)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith(f"checkpoint: {path} cannot be read (")
    assert str(error.value).endswith("; delete it to train from the start")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "run.safetensors"
    save(some_state(), path)
    return path


@given(data())
def test_any_flipped_bit_is_refused_or_changes_nothing(sound: Path, data: DataObject) -> None:
    content = sound.read_bytes()
    path = sound.with_name("flipped.safetensors")
    path.write_bytes(with_flipped_bit(content, data.draw(integers(0, 8 * len(content) - 1))))
    try:
        found = load(path)
    except RefusedError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 (or it is read)
    else:
        assert_same_state(found, some_state())


@given(integers(0), integers(0))
def test_any_flipped_bit_of_a_text_or_of_the_digest_is_refused(
    sound: Path, place: int, bit: int
) -> None:
    """Most of a file are numbers; what says what they are is as well kept."""
    content = sound.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    path = sound.with_name("flipped.safetensors")
    path.write_bytes(with_flipped_bit(content, 8 * (place % (8 + length)) + bit % 8))
    with pytest.raises(RefusedError):
        load(path)


def test_what_was_written_before_there_was_a_digest_is_read(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(sound.read_bytes())
    rewrite(path, nothing, sealed=False)
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) == {"config", "history", "kernel_norm_initial"}
    assert_same_state(load(path), some_state())


def test_the_digest_is_that_of_any_implementation(sound: Path) -> None:
    """By NumPy and hashlib, out of the file's own header."""
    content = sound.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    texts = header.pop("__metadata__")
    written = texts.pop("digest")
    words = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "I64": "int64"}
    forms = {name: [f"torch.{words[t['dtype']]}", t["shape"]] for name, t in header.items()}
    start = json.dumps([forms, texts], sort_keys=True).encode()
    parts = [struct.pack("<Q", len(start)), start]
    for name in sorted(header):
        begin, end = header[name]["data_offsets"]
        parts.append(content[8 + length + begin : 8 + length + end])
    assert hashlib.sha256(b"".join(parts)).hexdigest() == written


def test_a_state_that_does_not_fit_is_refused_with_the_rule(sound: Path) -> None:
    def require(_state: RunState) -> None:
        raise MisfitError("epochs: must be few, got 2")

    with pytest.raises(RefusedError) as error:
        load(sound, "the copy's origin", require)
    assert str(error.value) == (
        "checkpoint: the copy's origin cannot be read (epochs: must be few, got 2); "
        "delete it to train from the start"
    )


def test_a_file_that_may_not_be_read_is_not_called_damaged(sound: Path) -> None:
    with pytest.raises(CheckpointError, match="see to its disk and its permissions") as error:
        load(sound.parent)
    assert not isinstance(error.value, RefusedError)


@pytest.mark.parametrize("free", [0, 1])
def test_a_sound_file_is_not_refused_for_want_of_descriptors(sound: Path, free: int) -> None:
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(sound, os.O_RDONLY))
        for _ in range(free):
            os.close(taken.pop())
        with pytest.raises(CheckpointError, match="ulimit -n") as error:
            load(sound)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
    assert not isinstance(error.value, RefusedError)


def test_a_foreign_safetensors_file_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    for tensors in ({"weight": torch.zeros(2)}, {"parameters/weight": torch.zeros(2)}):
        save_file(tensors, path)
        with pytest.raises(CheckpointError, match="cannot be read"):
            load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(path)
