"""The model that a finished run returns, as the two files that MLflow holds of it.

The file of the tensors holds a digest over both: neither can change, nor be exchanged for that of
another run, without being found out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from suite.declarations.config import RunConfig
from suite.declarations.predictions import (
    PREDICTIONS_FILE,
    UNREADABLE,
    Predictions,
    decoded,
)
from suite.declarations.stored import read_config, reason, table
from suite.engine.checkpoint import UNUSABLE, RefusedError, cannot_be_read
from suite.engine.tensor_file import read_tensors, write_tensors

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
MODEL_FILES = (MODEL_FILE, CONFIG_FILE)
BEST_FILES = (*MODEL_FILES, PREDICTIONS_FILE)  # the last by versions that knew of it


@dataclass(frozen=True)
class BestModel:
    """The network of one run at τ_best.

    Attributes
    ----------
    config
        The run.
    classes
        Class names, in the order of the scores.
    image_shape
        Channels, height, width.
    tensors
        "parameters/…" and "buffers/…".
    """

    config: RunConfig
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    tensors: Mapping[str, Tensor]


def write_model(tensors: Mapping[str, Tensor], config_text: str, path: Path) -> None:
    """Write the file of a model's tensors, to lie beside a file with `config_text`.

    Equal models make equal files: a safetensors file has its texts in any order, this has one.

    Raises
    ------
    OSError, SafetensorError
        If that is not possible.
    """
    write_tensors(tensors, path, beside={CONFIG_FILE: config_text})


def read_model(folder: Path, place: object, remedy: str) -> BestModel:
    """Read a model from the folder of its files.

    Parameters
    ----------
    folder
        Where they are.
    place, remedy
        What an error calls the folder, and what it advises.

    Raises
    ------
    RefusedError
        If a file is missing, is none of this suite's, or is not what was written.
    CheckpointError
        If the system does not let one be read.
    """
    try:
        return _read(folder)
    except (FileNotFoundError, *UNUSABLE) as error:
        finding = f"best checkpoint: {place} cannot be read ({reason(error)})"
        raise RefusedError(finding, remedy) from error
    except OSError as error:
        raise cannot_be_read(f"best checkpoint: {place}", error) from error


def read_predictions(
    folder: Path, fingerprint: str, place: object, remedy: str
) -> Predictions | None:
    """Read what the model in a folder predicts; None where a version wrote it that kept none.

    Parameters
    ----------
    folder, place, remedy
        As in :func:`read_model`.
    fingerprint
        The run's.

    Raises
    ------
    RefusedError
        If the file is not what was written, or another run's.
    CheckpointError
        If the system does not let it be read.
    """
    try:
        return decoded((folder / PREDICTIONS_FILE).read_bytes(), fingerprint)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_be_read(f"predictions: those of {place}", error) from error
    except UNREADABLE as error:
        finding = f"predictions: those of {place} cannot be read ({reason(error)})"
        raise RefusedError(finding, remedy) from error


def _read(folder: Path) -> BestModel:
    text = (folder / CONFIG_FILE).read_text(encoding="utf-8")
    content = read_tensors(folder / MODEL_FILE, beside={CONFIG_FILE: text})
    if content.texts:
        raise ValueError(f"metadata: must be the digest alone, got {sorted(content.texts)}")
    about = table(json.loads(text), CONFIG_FILE)
    channels, height, width = (int(size) for size in about["image_shape"])
    classes = tuple(str(name) for name in about["classes"])
    return BestModel(
        read_config(about["config"]), classes, (channels, height, width), content.tensors
    )
