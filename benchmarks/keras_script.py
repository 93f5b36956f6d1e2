"""Digits with Keras 3 `fit`, the paper's software: one model after another.

Needs Keras, one of its backends (KERAS_BACKEND) and NumPy, nothing of this project: the images
come from an .npz file that `benchmarks.sweep_speed` writes. Prints images per second after a first
epoch, which compiles.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import keras
import numpy as np
from keras import layers


def block(x: Any, channels: int) -> Any:
    """A convolution, its normalization and rectifier."""
    x = layers.Conv2D(channels, 3, padding="same")(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def resnet9(width: int) -> keras.Model:
    """The ResNet-9 of `suite.models.resnet`."""
    inputs = layers.Input((8, 8, 1))
    x = block(block(inputs, width), 2 * width)
    x = layers.MaxPooling2D()(x)
    x = layers.Add()([x, block(block(x, 2 * width), 2 * width)])
    x = layers.MaxPooling2D()(block(x, 4 * width))
    x = layers.MaxPooling2D()(block(x, 8 * width))
    x = layers.Add()([x, block(block(x, 8 * width), 8 * width)])
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalMaxPooling2D()(x)))


def main() -> None:
    """Train one model, and print one number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="x, y, val_x, val_y: NHWC in [0, 1], labels")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    data = np.load(arguments.data)
    rules = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    model = resnet9(8)
    model.compile(
        optimizer=rules[arguments.optimizer](1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    common = {
        "x": data["x"],
        "y": data["y"],
        "validation_data": (data["val_x"], data["val_y"]),
        "batch_size": arguments.batch_size,
        "verbose": 0,
    }
    model.fit(epochs=1, **common)
    start = time.perf_counter()
    model.fit(epochs=arguments.epochs, **common)
    print(arguments.epochs * len(data["x"]) / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
