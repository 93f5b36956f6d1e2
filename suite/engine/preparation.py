"""Before training: the data set of a run, and whether the run can be trained on it."""

from __future__ import annotations

from suite.basics.settings import ConfigError
from suite.data import augmentation
from suite.data.splits import ImageData, load
from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine
from suite.models import build


def check(config: RunConfig, data: ImageData) -> None:
    """Raise ConfigError if the run cannot be trained on these data."""
    images = len(data.train)
    if config.batch_size > images:
        raise ConfigError(
            f"batch_size: must not exceed the {images} training images, "
            f"got {config.batch_size}; give {images} or less"
        )
    if config.augmentation != "none" and min(data.height, data.width) <= augmentation.PAD:
        raise ConfigError(
            f"augmentation: a {augmentation.PAD}-pixel reflection needs larger images, "
            f"got {data.height}×{data.width}; set augmentation=none"
        )
    network = build(config, data.channels, data.height, data.width, data.num_classes)
    last = images % config.batch_size or config.batch_size
    if last == 1 and network.batch_statistics:
        larger = range(config.batch_size + 1, images)
        enough = next((size for size in larger if images % size != 1), images)
        raise ConfigError(
            "batch_size: BatchNorm needs two images or more in every batch, "
            f"got {config.batch_size}, which leaves a last batch of 1 of {images}; give {enough}"
        )


def load_data(config: RunConfig, machine: Machine) -> tuple[ImageData, RunConfig]:
    """The data set of a run, and the run with the digest of a folder filled in.

    Raises
    ------
    DataError, ConfigError
        If there is no such data set, it is not the one which `dataset_digest` names, or the run
        cannot be trained on it.
    """
    data = load(
        config.dataset,
        machine.data_path,
        validation_fraction=config.validation_fraction,
        train_fraction=config.train_fraction,
        image_side=config.image_side,
    )
    if config.dataset == "folder":
        if config.dataset_digest not in ("", data.digest):
            raise ConfigError(
                f"dataset_digest: must be that of the folder, {data.digest}, "
                f"got {config.dataset_digest}; leave it out or choose another --data-dir"
            )
        config = config.with_(dataset_digest=data.digest)
    check(config, data)
    return data, config


def data_key(config: RunConfig) -> tuple[object, ...]:
    """Equal for runs on the same images, split in the same way."""
    return (
        config.dataset,
        config.dataset_digest,
        config.validation_fraction,
        config.train_fraction,
        config.image_side,
    )
