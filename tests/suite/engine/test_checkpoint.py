"""Checkpoints: the same bits back, and one line for what is broken."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from suite.declarations.config import parse
from suite.declarations.metrics import EpochRecord
from suite.engine.checkpoint import CheckpointError, RunState, load, save
from suite.engine.tensor_file import write_tensors

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


def rewritten(path: Path, **changes: str) -> bytes:
    """The file with other metadata."""
    save(some_state(), path)
    with safe_open(path, "pt") as file:
        about = file.metadata() | changes
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    write_tensors(tensors, path, about)
    return path.read_bytes()


BROKEN = {
    "empty": lambda _: b"",
    "text": lambda _: b"not a checkpoint at all, only text",
    "cut in the numbers": lambda path: whole(path)[:-10],
    "cut in the header": lambda path: whole(path)[:100],
    "zeroed header": lambda path: b"\0" * 64 + whole(path)[64:],
    "history is no json": lambda path: rewritten(path, history="[{"),
    "history of another suite": lambda path: rewritten(path, history='[{"epoch": 1}]'),
    "norm is no number": lambda path: rewritten(path, kernel_norm_initial="big"),
    "settings of a later suite": lambda path: rewritten(path, config='{"hue": 1, "tone": 2}'),
    "config is a list": lambda path: rewritten(path, config="[]"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_file_is_answered_in_one_line_with_the_file_and_the_remedy(
    damage: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(BROKEN[damage](path))
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith(f"checkpoint: {path} cannot be read (")
    assert str(error.value).endswith("; delete it to train from the start")


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
