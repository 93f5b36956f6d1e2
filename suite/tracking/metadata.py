"""How MLflow describes a run, its experiment and its data set: params, tags, descriptions."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from suite.basics.code_version import code_version
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.tags import (
    CODE_VERSION_TAG,
    CONFIG_TAG,
    DEVICE_TAG,
    FINGERPRINT_TAG,
    HOST_TAG,
    NOTE_TAG,
    SPLITS,
    STATE_TAG,
    VERSIONS_TAG,
    image_count,
)

if TYPE_CHECKING:
    from suite.data.splits import ImageData


def note(config: RunConfig) -> str:
    """A run's description: the command that trains it alone."""
    chosen = [
        f"--{name.replace('_', '-')} {getattr(config, name)}"
        for name in config.names()
        if getattr(config, name) != config.default(name) and name != "dataset_digest"
    ]
    return f"`{' '.join(['python -m suite.train', *chosen])}`"


def about_experiment(experiment: str) -> dict[str, str]:
    """The description of an experiment that is declared."""
    if experiment not in EXPERIMENTS:
        return {}
    declared = EXPERIMENTS[experiment]
    return {NOTE_TAG: f"{declared.description} (Das et al. 2026, {declared.source})"}


def params_of(config: RunConfig, data: DataDescription) -> dict[str, str]:
    """All settings, and the numbers of images."""
    sizes = {image_count(split): str(count) for split, count in data.sizes.items()}
    return config.parameters() | sizes


def tags_of(config: RunConfig, device: str) -> dict[str, str]:
    """What a run that trains says of itself, beside its settings."""
    return {
        FINGERPRINT_TAG: config.fingerprint,
        CONFIG_TAG: config.model_dump_json(),
        STATE_TAG: "running",
        DEVICE_TAG: device,
        **machine_tags(),
    }


@cache
def machine_tags() -> dict[str, str]:
    """Code version, host and library versions."""
    libraries = ("torch", "timm", "mlflow", "numpy")
    versions = [f"python {platform.python_version()}", *(f"{n} {version(n)}" for n in libraries)]
    return {
        CODE_VERSION_TAG: code_version(),
        HOST_TAG: socket.gethostname(),
        VERSIONS_TAG: ", ".join(versions),  # one tag: MLflow shows all of a run's side by side
    }


@dataclass(frozen=True)
class DataDescription:
    """The data set of a run as MLflow shows it."""

    name: str
    digest: str
    source: str
    sizes: Mapping[str, int]  # split to number of images
    image_shape: tuple[int, int, int]
    classes: Sequence[str]


def describe_data(data: ImageData, source: str) -> DataDescription:
    """The description of images that come from `source`."""
    return DataDescription(
        name=data.name,
        digest=data.digest,
        source=source,
        sizes={split: len(getattr(data, split)) for split in SPLITS},
        image_shape=(data.channels, data.height, data.width),
        classes=data.classes,
    )
