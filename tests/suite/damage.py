"""Files of a run, damaged in ways that no error of a disk or of a person leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from suite.engine.tensor_file import DIGEST, write_tensors

Change = Callable[[dict[str, Tensor], dict[str, str]], None]


def with_flipped_bit(content: bytes, bit: int) -> bytes:
    """The content with one bit, counted from its first, turned over."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flip_exponent(path: Path) -> None:
    """Turn over the highest bit of the exponent of the file's last number, a float."""
    content = path.read_bytes()
    path.write_bytes(with_flipped_bit(content, 8 * len(content) - 2))


def rewrite(path: Path, change: Change, *, sealed: bool) -> None:
    """Change what a safetensors file holds; with a digest of that, or as before there was one."""
    with safe_open(path, "pt") as file:
        texts = dict(file.metadata() or {})
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    del texts[DIGEST]
    if not sealed:
        texts.pop("epochs", None)
    change(tensors, texts)
    path.unlink()
    if sealed:
        write_tensors(tensors, path, texts)
    else:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, texts)


def nothing(tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
    """The change that is none."""
    del tensors, texts
