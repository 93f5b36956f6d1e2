"""Beyond σw: what else of the start does training remember? One perturbation an experiment.

Each is a factorial of one setting that acts before the first step only, in the run of the other
miniatures at σw = 1, under SGD and Adam. At the setting's default its runs are those of `mini-main`
again, in an experiment of their own; what pools experiments counts them once.
"""

from __future__ import annotations

from typing import Any

from suite.declarations.config import RunConfig
from suite.declarations.factorial import Experiment
from suite.declarations.miniatures import FEWER_SEEDS, MINIATURE_RUN, SMALL_AND_LARGE_BATCH


def _start(name: str, description: str, setting: str, values: tuple[Any, ...]) -> Experiment:
    axes = {
        "optimizer": ("sgd", "adam"),
        "batch_size": SMALL_AND_LARGE_BATCH,
        setting: values,
        "seed": FEWER_SEEDS,
    }
    return Experiment(name, description, "beyond the paper", axes).on(MINIATURE_RUN)


STARTS = (
    _start(
        "mini-distribution",
        "does the distribution of the initial kernels matter? four of one variance",
        "kernel_distribution",
        RunConfig.choices("kernel_distribution"),
    ),
    _start(
        "mini-layers",
        "is it remembered which layers start large? a power of depth on σw",
        "layer_scaling",
        (-1.0, -0.5, 0.0, 0.5, 1.0),
    ),
    _start(
        "mini-head",
        "is the classifier's initial scale remembered?",
        "head_scale",
        (0.1, 0.3, 1.0, 3.0, 10.0),
    ),
    _start(
        "mini-bias",
        "is the initial biases' scale remembered?",
        "sigma_b",
        (0.0, 0.2, 0.5, 1.0, 2.5),
    ),
)
