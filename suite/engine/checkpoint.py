"""What a run needs to go on from an epoch, as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EpochRecord

Group = dict[str, Tensor]

UNWRITABLE = (OSError, SafetensorError)
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
    """Write a run's state into a new file.

    An older file at `path` may still be mapped by who loaded it: write beside it and rename.

    Raises
    ------
    OSError, SafetensorError
        If that is not possible, e.g. on a full disk: one of :data:`UNWRITABLE`.
    """
    flat = {
        f"{group}/{name}": t for group, part in state.tensors.items() for name, t in part.items()
    }
    about = {
        "config": state.config.model_dump_json(),
        "history": json.dumps([asdict(record) for record in state.history]),
        "kernel_norm_initial": repr(state.kernel_norm_initial),
    }
    write_tensors(flat, path, about)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write tensors and a text of any name into a safetensors file; raises as :func:`save`."""
    save_file({name: t.contiguous() for name, t in tensors.items()}, path, dict(about))


def load(path: Path, place: object = None) -> RunState | None:
    """Read the state that :func:`save` wrote.

    Parameters
    ----------
    path
        The file. Its tensors are mapped into memory, not copied.
    place
        What an error calls the file, if it is the copy of another.

    Returns
    -------
    RunState or None
        None if there is no file.

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
        reason = " | ".join(str(error).splitlines())
        raise CheckpointError(
            f"checkpoint: {place or path} cannot be read ({reason}); "
            "delete it to train from the start"
        ) from error


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
