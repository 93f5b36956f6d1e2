"""What a run needs to go on from an epoch, as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from suite.basics.errors import remedy_for
from suite.declarations.config import RunConfig
from suite.declarations.layers import LayerHistory
from suite.declarations.metrics import EpochRecord
from suite.declarations.stored import MALFORMED, read_config, read_history, reason
from suite.engine.tensor_file import Content, read_tensors, write_tensors

Group = dict[str, Tensor]

UNWRITABLE = (OSError, SafetensorError)
UNUSABLE = (SafetensorError, *MALFORMED)  # what reading a damaged file can raise

TEXTS = {"config", "history", "kernel_norm_initial"}
SEALED_TEXTS = TEXTS | {"epochs"}  # versions without a digest did not write it
LAYERS = "layers"  # the text that versions before did not write, with a digest or without


SEE_TO_IT = "see to its disk and its permissions"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read: one line with the file and the remedy."""


class RefusedError(CheckpointError):
    """A file that can be read and must not be used: damaged, or of a version with another layout.

    Attributes
    ----------
    finding
        The line up to its remedy, for whoever has already done something about it.
    """

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(f"{finding}; {remedy}")
        self.finding = finding


def cannot_be_read(what: str, error: OSError, otherwise: str = SEE_TO_IT) -> CheckpointError:
    """The error of a file that the system does not let be read; it says nothing of its content."""
    advice = remedy_for(error, otherwise)
    return CheckpointError(f"{what} cannot be read ({reason(error)}); {advice}")


class MisfitError(ValueError):
    """What was read is sound, but not what this run and its network need; the rule and the find."""


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
    layers
        What was measured of its kernels; None where an earlier version trained it.
    """

    config: RunConfig
    tensors: dict[str, Group]
    history: list[EpochRecord]
    kernel_norm_initial: float
    layers: LayerHistory | None = None

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.history)


Require = Callable[[RunState], None]


def any_run(state: RunState) -> None:
    """What every state fulfils."""
    del state


def save(state: RunState, path: Path) -> None:
    """Write a run's state into a new file, with the digest of all that it holds.

    An older file at `path` may still be mapped by who loaded it: write beside it and rename.

    Raises
    ------
    OSError, SafetensorError
        If that is not possible, e.g. on a full disk: one of :data:`UNWRITABLE`.
    """
    flat = {
        f"{group}/{name}": t for group, part in state.tensors.items() for name, t in part.items()
    }
    texts = {
        "config": state.config.model_dump_json(),
        "epochs": str(state.epoch),
        "history": json.dumps([asdict(record) for record in state.history]),
        "kernel_norm_initial": repr(state.kernel_norm_initial),
    }
    if state.layers is not None:
        texts[LAYERS] = state.layers.to_text()
    write_tensors(flat, path, texts)


def load(path: Path, place: object = None, require: Require = any_run) -> RunState | None:
    """Read the state that :func:`save` wrote.

    Parameters
    ----------
    path
        The file. Its tensors are mapped into memory, not copied.
    place
        What an error calls the file, if it is the copy of another.
    require
        Raises `MisfitError` on a state that does not fit its run, as
        :func:`suite.engine.fitting.require_fit` does.

    Returns
    -------
    RunState or None
        None if there is no file.

    Raises
    ------
    RefusedError
        If it is not a checkpoint of this suite, not what was written, or does not fit.
    CheckpointError
        If the system does not let it be read, which says nothing of what it holds.
    """
    anew = "delete it to train from the start"
    try:
        if not path.exists():
            return None
        state = _read(path)
        require(state)
    except MisfitError as error:
        finding = f"checkpoint: {place or path} cannot be read ({reason(error)})"
        raise RefusedError(finding, anew) from error
    except OSError as error:
        otherwise = f"{SEE_TO_IT}, or {anew}"
        raise cannot_be_read(f"checkpoint: {place or path}", error, otherwise) from error
    return state


def _read(path: Path) -> RunState:
    try:
        return _state(read_tensors(path))
    except UNUSABLE as error:
        raise MisfitError(reason(error)) from error


def _state(content: Content) -> RunState:
    texts, expected = content.texts, SEALED_TEXTS if content.sealed else TEXTS
    if set(texts) - {LAYERS} != expected:
        raise ValueError(f"metadata: must be {sorted(expected)}, got {sorted(texts)}")
    tensors: dict[str, Group] = {}
    for key, tensor in content.tensors.items():
        group, name = key.split("/", 1)
        tensors.setdefault(group, {})[name] = tensor
    history = read_history(json.loads(texts["history"]))
    if content.sealed and texts["epochs"] != str(len(history)):
        raise ValueError(
            f"history: must have a record for each of {texts['epochs']} epochs trained, "
            f"got {len(history)}"
        )
    return RunState(
        config=read_config(json.loads(texts["config"])),
        tensors=tensors,
        history=history,
        kernel_norm_initial=float(texts["kernel_norm_initial"]),
        layers=LayerHistory.from_text(texts[LAYERS]) if LAYERS in texts else None,
    )
