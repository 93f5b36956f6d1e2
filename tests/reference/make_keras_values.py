"""Compute reference values with Keras itself, for the tests of the `keras` semantics.

Run it in an environment with Keras 3.13 or newer and JAX (neither is needed by the suite)::

    KERAS_BACKEND=jax python tests/reference/make_keras_values.py

It writes ``keras_values.npz`` beside itself. Everything is computed and stored in float64, and
every array is stored in PyTorch's layout: convolution kernels (out, in, height, width), dense
kernels (out, in), images (batch, channel, height, width). Keys read ``case/name``; the functions
named ``*_case`` say what each case holds. ``keras_version`` and ``jax_version`` name the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from keras.src.backend.common import dtypes as keras_dtypes
from numpy.typing import NDArray

Array = NDArray[Any]
Values = dict[str, Array]

OUTPUT = Path(__file__).with_name("keras_values.npz")
INITIAL_RATE = 1e-2
FINAL_FRACTION = 0.01
OPTIMIZER_STEPS = 200
WARM_UP_STEPS = 50
SNAPSHOT_STEPS = (1, 10, 200)
EPOCHS, BATCH_SIZE, STEPS_PER_EPOCH = 3, 16, 3
WIDTH = 4
RESNET9_LAYERS = ("conv1", "conv2", "res1a", "res1b", "conv3", "conv4", "res2a", "res2b", "head")

# Keras's Muon decays only the kernels that it orthogonalises by `weight_decay`; the others follow
# `adam_weight_decay`, which stays at 0.004 unless it is named too. Both readings are kept.
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda rate: keras.optimizers.SGD(rate),
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=False),
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=1e-4),
    "muon": lambda rate: keras.optimizers.Muon(rate, weight_decay=1e-4),
    "muon_equal_decay": lambda rate: keras.optimizers.Muon(
        rate, weight_decay=1e-4, adam_weight_decay=1e-4
    ),
    "lion": lambda rate: keras.optimizers.Lion(rate, weight_decay=1e-4),
}


def kernel_to_torch(value: Any) -> Array:
    """Return a Keras kernel (height, width, in, out) or (in, out) in PyTorch's layout.

    Vectors come back as they are.
    """
    array = np.asarray(value)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def kernel_to_keras(array: Array) -> Array:
    """Return a PyTorch kernel (out, in, height, width) or (out, in) in Keras's layout."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def images_to_torch(value: Any) -> Array:
    """Return an image batch (batch, height, width, channel) with its channels second."""
    return np.moveaxis(np.asarray(value), -1, 1)


def images_to_keras(images: Array) -> Array:
    """Return an image batch (batch, channel, height, width) with its channels last."""
    return np.moveaxis(images, 1, -1)


def cosine(steps: int) -> Any:
    """Return the cosine schedule of the paper's grids over `steps` updates."""
    return keras.optimizers.schedules.CosineDecay(INITIAL_RATE, steps, alpha=FINAL_FRACTION)


def warmed_up_cosine() -> Any:
    """Return the cosine after a linear warm-up from 0, `OPTIMIZER_STEPS` updates in all."""
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        OPTIMIZER_STEPS - WARM_UP_STEPS,
        alpha=FINAL_FRACTION,
        warmup_target=INITIAL_RATE,
        warmup_steps=WARM_UP_STEPS,
    )


def optimizer_variables() -> tuple[Any, dict[str, Any]]:
    """Return a model and, by name, its four variables: one of each kind that a network has."""
    image, features = keras.Input((4, 4, 2)), keras.Input((6,))
    convolution = keras.layers.Conv2D(4, 3, use_bias=False, name="conv")
    norm = keras.layers.BatchNormalization(center=False, name="norm")
    dense = keras.layers.Dense(5, name="dense")
    model = keras.Model([image, features], [norm(convolution(image)), dense(features)])
    variables = {
        "conv.kernel": convolution.kernel,
        "dense.kernel": dense.kernel,
        "dense.bias": dense.bias,
        "norm.scale": norm.gamma,
    }
    return model, variables


def optimizers_case() -> Values:
    """Run every optimizer for 200 steps on g = 0.5 w + sin(0.1 k + arange), k counted from 0.

    Keys: ``optimizers/learning_rate`` (the 200 rates), ``optimizers/warmed_up_rate`` (the same
    after 50 steps of warm-up), ``optimizers/init/{variable}`` and
    ``optimizers/{optimizer}/step_{1,10,200}/{variable}``. The phases count in PyTorch's layout.
    """
    generator = np.random.default_rng(1)
    model, variables = optimizer_variables()
    initial = {
        name: generator.normal(0.0, 0.5, kernel_to_torch(variable).shape)
        for name, variable in variables.items()
    }
    phases = {name: np.arange(v.size, dtype=float).reshape(v.shape) for name, v in initial.items()}
    schedule = cosine(OPTIMIZER_STEPS)
    values: Values = {f"optimizers/init/{name}": value for name, value in initial.items()}
    values["optimizers/learning_rate"] = np.array(
        [float(schedule(step)) for step in range(OPTIMIZER_STEPS)]
    )
    warmed_up = warmed_up_cosine()
    values["optimizers/warmed_up_rate"] = np.array(
        [float(warmed_up(step)) for step in range(OPTIMIZER_STEPS)]
    )
    for label, make in OPTIMIZERS.items():
        for name, variable in variables.items():
            variable.assign(kernel_to_keras(initial[name]))
        optimizer = make(schedule)
        optimizer.build(model.trainable_variables)
        names = {variable.path: name for name, variable in variables.items()}
        for step in range(OPTIMIZER_STEPS):
            gradients = []
            for variable in model.trainable_variables:
                name = names[variable.path]
                slope = 0.5 * kernel_to_torch(variable) + np.sin(0.1 * step + phases[name])
                gradients.append(keras.ops.convert_to_tensor(kernel_to_keras(slope)))
            optimizer.apply(gradients, model.trainable_variables)
            if step + 1 in SNAPSHOT_STEPS:
                for name, variable in variables.items():
                    key = f"optimizers/{label}/step_{step + 1}/{name}"
                    values[key] = kernel_to_torch(variable).copy()
    return values


def batchnorm_case() -> Values:
    """Run five training calls of BatchNormalization, then one in inference mode.

    Keys under ``batchnorm/``: scale, shift, input and output (call, batch, channel, height,
    width), running_mean and running_variance (call, channel), and inference_output for the first
    of the inputs. The last channel's variance is below epsilon, so that epsilon counts.
    """
    generator = np.random.default_rng(2)
    spread = np.array([1.0, 3.0, 0.02]).reshape(3, 1, 1)
    inputs = generator.normal(0.5, 1.0, (5, 8, 3, 4, 4)) * spread
    scale, shift = generator.normal(1.0, 0.2, 3), generator.normal(0.0, 0.2, 3)
    layer = keras.layers.BatchNormalization()
    layer.build((8, 4, 4, 3))
    layer.gamma.assign(scale)
    layer.beta.assign(shift)
    outputs, means, variances = [], [], []
    for batch in inputs:
        outputs.append(images_to_torch(layer(images_to_keras(batch), training=True)))
        means.append(np.asarray(layer.moving_mean.value))
        variances.append(np.asarray(layer.moving_variance.value))
    return {
        "batchnorm/scale": scale,
        "batchnorm/shift": shift,
        "batchnorm/input": inputs,
        "batchnorm/output": np.stack(outputs),
        "batchnorm/running_mean": np.stack(means),
        "batchnorm/running_variance": np.stack(variances),
        "batchnorm/inference_output": images_to_torch(
            layer(images_to_keras(inputs[0]), training=False)
        ),
    }


def layernorm_case() -> Values:
    """Run LayerNormalization over the channels of each pixel.

    Keys under ``layernorm/``: scale, shift, input and output. The second image is small, so that
    epsilon counts.
    """
    generator = np.random.default_rng(3)
    images = generator.normal(0.5, 1.0, (4, 5, 3, 3))
    images[1] *= 0.02
    scale, shift = generator.normal(1.0, 0.2, 5), generator.normal(0.0, 0.2, 5)
    layer = keras.layers.LayerNormalization(axis=-1)
    layer.build((4, 3, 3, 5))
    layer.gamma.assign(scale)
    layer.beta.assign(shift)
    return {
        "layernorm/scale": scale,
        "layernorm/shift": shift,
        "layernorm/input": images,
        "layernorm/output": images_to_torch(layer(images_to_keras(images))),
    }


def strided_case() -> Values:
    """Run convolutions of stride 2 with "same" padding, 3x3 and 1x1, on sides of 8 and 7.

    Keys: ``strided/{3x3,1x1}_on_{8,7}/{kernel,bias,input,output}``.
    """
    generator = np.random.default_rng(4)
    values: Values = {}
    for side in (8, 7):
        for width in (3, 1):
            images = generator.normal(size=(2, 2, side, side))
            kernel, bias = generator.normal(size=(3, 2, width, width)), generator.normal(size=3)
            layer = keras.layers.Conv2D(3, width, strides=2, padding="same")
            layer.build((2, side, side, 2))
            layer.set_weights([kernel_to_keras(kernel), bias])
            case = f"strided/{width}x{width}_on_{side}"
            values |= {f"{case}/kernel": kernel, f"{case}/bias": bias, f"{case}/input": images}
            values[f"{case}/output"] = images_to_torch(layer(images_to_keras(images)))
    return values


def resnet9(normalization: Callable[..., Any], penalty: float = 0.0) -> Any:
    """Return the ResNet-9 of width 4 for 8x8x1 images, its kernels under L2 if `penalty` > 0."""
    regularizer = keras.regularizers.L2(penalty) if penalty else None

    def convolve(x: Any, channels: int, name: str) -> Any:
        convolution = keras.layers.Conv2D(
            channels, 3, padding="same", kernel_regularizer=regularizer, name=name
        )
        return keras.layers.ReLU()(normalization(name=f"{name}.norm")(convolution(x)))

    image = keras.Input((8, 8, 1))
    x = convolve(image, WIDTH, "conv1")
    x = keras.layers.MaxPooling2D(2)(convolve(x, 2 * WIDTH, "conv2"))
    x = keras.layers.Add()([x, convolve(convolve(x, 2 * WIDTH, "res1a"), 2 * WIDTH, "res1b")])
    x = keras.layers.MaxPooling2D(2)(convolve(x, 4 * WIDTH, "conv3"))
    x = keras.layers.MaxPooling2D(2)(convolve(x, 8 * WIDTH, "conv4"))
    x = keras.layers.Add()([x, convolve(convolve(x, 8 * WIDTH, "res2a"), 8 * WIDTH, "res2b")])
    x = keras.layers.GlobalMaxPooling2D()(x)
    head = keras.layers.Dense(10, kernel_regularizer=regularizer, name="head")
    return keras.Model(image, head(x))


def draw_resnet9_weights() -> Values:
    """Draw kernels N(0, 1/fan_in) and biases N(0, 0.2^2) in forward order; affine ones, zeros."""
    generator = np.random.default_rng(0)
    model = resnet9(keras.layers.BatchNormalization)
    weights: Values = {}
    for name in RESNET9_LAYERS:
        shape = kernel_to_torch(model.get_layer(name).kernel).shape
        fan_in = int(np.prod(shape[1:]))
        weights[f"{name}.kernel"] = generator.normal(0.0, fan_in**-0.5, shape)
        weights[f"{name}.bias"] = generator.normal(0.0, 0.2, shape[0])
        if name != "head":
            weights[f"{name}.norm.scale"] = np.ones(shape[0])
            weights[f"{name}.norm.shift"] = np.zeros(shape[0])
    return weights


def set_weights(model: Any, weights: Mapping[str, Array]) -> None:
    """Put weights named ``{layer}.{kernel,bias,norm.scale,norm.shift}`` into a Keras model."""
    attributes = {"scale": "gamma", "shift": "beta"}
    for key, value in weights.items():
        layer, _, part = key.rpartition(".")
        variable = getattr(model.get_layer(layer), attributes.get(part, part))
        variable.assign(kernel_to_keras(value))


def draw_data() -> Values:
    """Draw 40 training and 24 validation images (uint8) and labels 0..9; used as pixel / 255."""
    generator = np.random.default_rng(13)  # here every val_accuracy differs from 0 and moves
    return {
        "train_images": generator.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8),
        "train_labels": generator.integers(0, 10, 40),
        "val_images": generator.integers(0, 256, (24, 1, 8, 8), dtype=np.uint8),
        "val_labels": generator.integers(0, 10, 24),
    }


def train(model: Any, optimizer: Any, data: Values, penalty: float) -> Values:
    """Train three epochs in stored order; return the histories and the chosen final weights."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    val_images = images_to_keras(data["val_images"] / 255.0)
    history = model.fit(
        images_to_keras(data["train_images"] / 255.0),
        data["train_labels"],
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        validation_data=(val_images, data["val_labels"]),
        verbose=0,
    ).history
    logits = np.asarray(model(val_images, training=False))
    check_val_loss(model, logits, data["val_labels"], penalty, history["val_loss"][-1])
    values = {f"history/{name}": np.array(series) for name, series in history.items()}
    values["final/val_logits"] = logits
    for name in ("conv1", "res2b", "head"):
        values[f"final/{name}.kernel"] = kernel_to_torch(model.get_layer(name).kernel)
    for name in ("conv1", "res2b"):
        norm = model.get_layer(f"{name}.norm")
        if isinstance(norm, keras.layers.BatchNormalization):
            values[f"final/{name}.norm.running_mean"] = np.asarray(norm.moving_mean)
            values[f"final/{name}.norm.running_variance"] = np.asarray(norm.moving_variance)
    return values


def check_val_loss(
    model: Any, logits: Array, labels: Array, penalty: float, reported: float
) -> None:
    """Raise if Keras's last val_loss is not float64-accurate, by summing it in NumPy."""
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    kernels = [np.asarray(model.get_layer(name).kernel) for name in RESNET9_LAYERS]
    exact = losses.mean() + penalty * sum(float((kernel**2).sum()) for kernel in kernels)
    if abs(exact - reported) > 1e-12 * abs(exact):
        raise ArithmeticError(
            f"val_loss: must be float64-accurate, got {reported!r}, not {exact!r}"
        )


def resnet9_cases() -> Values:
    """Train ResNet-9 with every optimizer, with L2, and with layer normalization.

    Keys: ``resnet9/data/{train,val}_{images,labels}``, ``resnet9/init/{layer}.{kernel,bias,
    norm.scale,norm.shift}``, and, for each optimizer and for ``sgd_l2`` (1e-2 on all kernels),
    ``resnet9/{optimizer}/history/{loss,accuracy,val_loss,val_accuracy}`` (epoch) and
    ``resnet9/{optimizer}/final/{val_logits, {conv1,res2b,head}.kernel,
    {conv1,res2b}.norm.running_{mean,variance}}``. ``resnet9_layernorm/sgd/...`` starts from the
    same weights and data, and so does ``resnet9_layernorm/lion/...``: before batch normalization
    the gradient of a bias is rounding alone, of which Lion makes whole steps.
    """
    weights, data = draw_resnet9_weights(), draw_data()
    values: Values = {f"resnet9/data/{name}": value for name, value in data.items()}
    values |= {f"resnet9/init/{name}": value for name, value in weights.items()}
    batchnorm, layernorm = keras.layers.BatchNormalization, keras.layers.LayerNormalization
    runs = [
        (f"resnet9/{label}", batchnorm, make, 0.0)
        for label, make in OPTIMIZERS.items()
        if label != "lion"
    ]
    runs += [
        ("resnet9/sgd_l2", batchnorm, OPTIMIZERS["sgd"], 1e-2),
        ("resnet9_layernorm/sgd", layernorm, OPTIMIZERS["sgd"], 0.0),
        ("resnet9_layernorm/lion", layernorm, OPTIMIZERS["lion"], 0.0),
    ]
    for case, normalization, make, penalty in runs:
        model = resnet9(normalization, penalty)
        set_weights(model, weights)
        results = train(model, make(cosine(EPOCHS * STEPS_PER_EPOCH)), data, penalty)
        values |= {f"{case}/{name}": value for name, value in results.items()}
    return values


def resnet_block_case() -> Values:
    """Run a CIFAR residual block at a stage change, 3 to 4 channels with stride 2, in training.

    Keys under ``resnet_block/``: input, output, {conv1,conv2}.{kernel,bias,norm.scale,
    norm.shift}, shortcut.{kernel,bias}.
    """
    generator = np.random.default_rng(6)
    images = generator.normal(size=(2, 3, 8, 8))
    shapes = {"conv1": (4, 3, 3, 3), "conv2": (4, 4, 3, 3), "shortcut": (4, 3, 1, 1)}
    weights: Values = {}
    for name, shape in shapes.items():
        weights[f"{name}.kernel"] = generator.normal(0.0, 0.4, shape)
        weights[f"{name}.bias"] = generator.normal(0.0, 0.2, 4)
        if name != "shortcut":
            weights[f"{name}.norm.scale"] = generator.normal(1.0, 0.2, 4)
            weights[f"{name}.norm.shift"] = generator.normal(0.0, 0.2, 4)
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="conv1.norm")(x))
    x = layers.Conv2D(4, 3, padding="same", name="conv2")(x)
    x = layers.BatchNormalization(name="conv2.norm")(x)
    shortcut = layers.Conv2D(4, 1, strides=2, padding="same", name="shortcut")(image)
    model = keras.Model(image, layers.ReLU()(layers.Add()([x, shortcut])))
    set_weights(model, weights)
    values = {f"resnet_block/{name}": value for name, value in weights.items()}
    values["resnet_block/input"] = images
    values["resnet_block/output"] = images_to_torch(model(images_to_keras(images), training=True))
    return values


def use_float64() -> None:
    """Make Keras compute in float64 throughout, its normalization layers included."""
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    # Off TensorFlow, Keras's type promotion turns every float64 into float32 whatever floatx says;
    # batch and layer normalization go through it. This entry alone decides that.
    keras_dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    if keras.backend.result_type("float64", "float32") != "float64":
        raise RuntimeError("result_type: must keep float64, got float32; adapt use_float64")


def main() -> None:
    """Compute all cases, write the file, and print the versions and the file's size."""
    if keras.backend.backend() != "jax":
        raise SystemExit("KERAS_BACKEND: must be jax, set KERAS_BACKEND=jax and run again")
    use_float64()
    values = optimizers_case() | batchnorm_case() | layernorm_case() | strided_case()
    values |= resnet9_cases() | resnet_block_case()
    for key, value in values.items():
        if value.dtype not in (np.float64, np.uint8, np.int64) or not np.isfinite(value).all():
            raise ArithmeticError(f"{key}: must be finite and float64, got {value.dtype}")
    versions = {"keras_version": keras.__version__, "jax_version": jax.__version__}
    np.savez_compressed(OUTPUT, **values, **{k: np.array(v) for k, v in versions.items()})
    print(f"Keras {keras.__version__}, JAX {jax.__version__}: {len(values)} arrays in")
    print(f"{OUTPUT.name}, {OUTPUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
