"""Named tensors and texts as one safetensors file that carries the SHA-256 of what it holds.

safetensors itself checks that the tensors fill the file, not that they are the ones written: a bit
that flips on a disk would train on, or predict, without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from suite.declarations.stored import require_digest

DIGEST = "digest"


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes
    ----------
    tensors
        By name, mapped into memory from the file.
    texts
        By name.
    sealed
        Whether it came with its digest, which then is right. Versions before wrote none.
    """

    tensors: dict[str, Tensor]
    texts: dict[str, str]
    sealed: bool


NONE: Mapping[str, str] = {}


def write_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    texts: Mapping[str, str] = NONE,
    beside: Mapping[str, str] = NONE,
) -> None:
    """Write tensors, texts and the digest of it all into a new file.

    Parameters
    ----------
    tensors, texts
        What the file is to hold; no text goes by the name "digest".
    beside
        What is kept elsewhere and shall be under the same digest.

    Raises
    ------
    OSError, SafetensorError
        If that is not possible.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, {**texts, DIGEST: digest_of(contiguous, {**texts, **beside})})


def read_tensors(path: Path, beside: Mapping[str, str] = NONE) -> Content:
    """Read what :func:`write_tensors` wrote with the same `beside`, or safetensors alone.

    Raises
    ------
    OSError
        If the system does not let it be opened.
    SafetensorError
        If it is not a safetensors file.
    ValueError
        If its content has another digest than the one written with it.
    """
    # Whatever keeps safetensors from opening a file, it calls it not found, and torch, which opens
    # it too, raises a RuntimeError: neither is to be taken for damage.
    with path.open("rb"), path.open("rb"):
        pass
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        texts = dict(file.metadata() or {})
    written = texts.pop(DIGEST, None)
    if written is not None:
        require_digest(written, digest_of(tensors, {**texts, **beside}))
    return Content(tensors, texts, written is not None)


def digest_of(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """SHA-256 over names, dtypes, shapes, bytes and texts, whatever their order; hexadecimal."""
    forms = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    header = json.dumps([forms, dict(texts)], sort_keys=True).encode()
    # The header's length and the forms say where each part ends, so no two contents read alike.
    digest = hashlib.sha256(len(header).to_bytes(8, "little"))
    digest.update(header)
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
