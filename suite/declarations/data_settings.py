"""Settings of a run: the images, how they are split, and how they are varied."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from suite.basics.settings import Setting, Settings


class DataSettings(Settings):
    """What a run sees."""

    dataset: Annotated[
        Literal["digits", "cifar10", "folder"],
        Setting("digits is embedded; cifar10 is downloaded once; folder reads --data-dir"),
    ] = "digits"
    dataset_digest: Annotated[
        str,
        Field(pattern=r"^([0-9a-f]{16})?$"),
        Setting(
            "content digest of a folder data set, filled in by itself",
            only_with={"dataset": ("folder",)},
            short="{:.8}",
        ),
    ] = ""
    validation_fraction: Annotated[
        float,
        Field(gt=0, lt=1),
        Setting(
            "part of the training images held out for validation, the same for all seeds",
            short="validation {}",
        ),
    ] = 0.2
    train_fraction: Annotated[
        float,
        Field(gt=0, le=1),
        Setting("part of the remaining training images that is used", short="train {}"),
    ] = 1.0
    augmentation: Annotated[
        Literal["none", "flip-crop"],
        Setting(
            "flip-crop: horizontal flip, 4-pixel reflect pad, random crop, drawn per image",
            short={"none": "no aug", "flip-crop": "aug"},
        ),
    ] = "none"
    image_side: Annotated[
        int,
        Field(ge=0),
        Setting(
            "images are averaged over areas down to so many pixels a side; 0 leaves them",
            unit="pixels",
            short="{0}×{0}",
            implicit=0,
        ),
    ] = 0
