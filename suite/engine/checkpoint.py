"""What a run needs to go on from an epoch: one safetensors file, written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file
from torch import Tensor

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EpochRecord

Group = dict[str, Tensor]

HEADER_LENGTH = 8  # bytes
UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError)


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read: one line with the file and the remedy."""


@dataclass
class RunState:
    """A run at the end of an epoch.

    Attributes
    ----------
    tensors
        Group ("parameters", "buffers", "best_parameters", "best_buffers", "moment_…") to
        {name: tensor of this run}.
    history
        All epochs so far; their number is the epoch to go on from.
    kernel_norm_initial
        Before the first step.
    """

    config: RunConfig
    tensors: dict[str, Group]
    history: list[EpochRecord]
    kernel_norm_initial: float

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.history)


def save(state: RunState, path: Path) -> None:
    """Write a run's state so that `path` holds either the old state or all of the new one.

    Raises
    ------
    CheckpointError
        If the file cannot be written, e.g. on a full disk. The old one is then still there.
    """
    write_tensors(_flat(state), path, _about(state))


def _flat(state: RunState) -> Group:
    return {
        f"{group}/{name}": t for group, part in state.tensors.items() for name, t in part.items()
    }


def _about(state: RunState) -> dict[str, str]:
    return {
        "config": state.config.model_dump_json(),
        "history": json.dumps([asdict(record) for record in state.history]),
        "kernel_norm_initial": repr(state.kernel_norm_initial),
    }


def write_tensors(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """A safetensors file with metadata, complete or not there at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in tensors.items()}, scratch, dict(about))
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):  # the write's own error says more
            scratch.unlink()
        raise CheckpointError(
            f"checkpoint: {path} cannot be written ({error}); "
            "free some space or choose another --state-dir"
        ) from error


def load(path: Path) -> RunState | None:
    """The state saved at `path`; None if there is none.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint of this suite.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            return _state(flat, file.metadata())
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def to_bytes(state: RunState) -> bytes:
    """A run's state as the content of the file that :func:`save` writes."""
    return tensors_to_bytes(_flat(state), _about(state))


def tensors_to_bytes(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """The content of a safetensors file with metadata."""
    return save_bytes({name: t.contiguous() for name, t in tensors.items()}, dict(about))


def from_bytes(content: bytes, place: object) -> RunState:
    """The state that :func:`to_bytes` made; raises as :func:`load` does.

    Parameters
    ----------
    place
        Where it was kept, for a person.
    """
    try:
        # A safetensors file begins with the length of its JSON header.
        end = HEADER_LENGTH + int.from_bytes(content[:HEADER_LENGTH], "little")
        about = json.loads(content[HEADER_LENGTH:end])["__metadata__"]
        return _state(load_bytes(content), about)
    except UNREADABLE as error:
        raise _unreadable(place, error) from error


def _state(flat: Group, about: Mapping[str, str]) -> RunState:
    tensors: dict[str, Group] = {}
    for key, tensor in flat.items():
        group, name = key.split("/", 1)
        tensors.setdefault(group, {})[name] = tensor
    return RunState(
        config=parse(json.loads(about["config"])),
        tensors=tensors,
        history=[EpochRecord(**record) for record in json.loads(about["history"])],
        kernel_norm_initial=float(about["kernel_norm_initial"]),
    )


def _unreadable(place: object, error: Exception) -> CheckpointError:
    reason = " | ".join(str(error).splitlines())
    return CheckpointError(
        f"checkpoint: {place} cannot be read ({reason}); delete it to train from the start"
    )
