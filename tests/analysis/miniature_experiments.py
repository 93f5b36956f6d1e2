"""Miniatures of the paper's experiments, declared for the tests alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from analysis.claims.paper_file import PaperFile, paper
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.paper_experiments import SIGMA_W_COARSE

SEEDS = (0, 1, 2, 3, 4)
FIXED = {"dataset": "digits", "width": 8, "train_fraction": 0.2, "epochs": 40}
RATE = {"learning_rate": 1e-2}


def _miniature(of: str, axes: Mapping[str, Any], **fixed: Any) -> Experiment:
    whole = {"sigma_w": SIGMA_W_COARSE, **axes, "seed": SEEDS}
    used = {key: value for key, value in {**FIXED, **fixed}.items() if key not in axes}
    return Experiment(
        f"small-{of}", f"{of}, small", "", whole, used, EXPERIMENTS[of].bundles, miniature_of=of
    )


MINIATURES = {
    one.name: one
    for one in (
        _miniature(
            "main",
            {
                "optimizer": EXPERIMENTS["main"].axes["optimizer"],
                "batch_size": (8, 16, 32, 64),
            },
            **RATE,
        ),
        _miniature(
            "long",
            {"batch_size": (8, 64)},
            optimizer="sgd",
            schedule="constant",
            **RATE | {"epochs": 100},
        ),
        _miniature(
            "lr-l2",
            {
                "learning_rate": (1e-2, 3e-2, 1e-1),
                "kernel_l2": (0.0, 1e-2, 5e-2, 1e-1),
                "batch_size": (8, 64),
            },
            optimizer="sgd",
        ),
        _miniature(
            "norm-aug",
            {"norm": ("batch", "layer"), "optimizer": ("sgd", "adam"), "batch_size": (8, 64)},
            **RATE,
        ),
        _miniature("best", {"procedure": ("sgd", "adam"), "batch_size": (8, 64)}),
    )
}
SIZES = {"paper": [16, 128], "miniature": [8, 64]}
TABLES: dict[str, dict[str, dict[str, list[Any]]]] = {
    "small-main": {"batch_size": {"paper": [16, 32, 64, 128], "miniature": [8, 16, 32, 64]}},
    "small-long": {"batch_size": SIZES},
    "small-lr-l2": {
        "batch_size": SIZES,
        "learning_rate": {"paper": [1e-3, 1e-2, 1e-1], "miniature": [1e-2, 3e-2, 1e-1]},
        "kernel_l2": {"paper": [0.0, 1e-3, 5e-3, 1e-2], "miniature": [0.0, 1e-2, 5e-2, 1e-1]},
    },
    "small-norm-aug": {"batch_size": SIZES},
    "small-best": {"batch_size": SIZES},
}


def declare(monkeypatch: pytest.MonkeyPatch) -> PaperFile:
    """Make these the only miniatures there are; the paper's file with what they stand for."""
    declared = paper()  # read while the miniatures that it names are there
    for name, one in list(EXPERIMENTS.items()):
        if one.miniature_of:
            monkeypatch.delitem(EXPERIMENTS, name)
    for name, one in MINIATURES.items():
        monkeypatch.setitem(EXPERIMENTS, name, one)
    return _with_tables(declared, TABLES)


def with_tables(tables: Mapping[str, Any]) -> PaperFile:
    """The paper's file with other tables of miniatures, checked."""
    return _with_tables(paper(), tables)


def _with_tables(declared: PaperFile, tables: Mapping[str, Any]) -> PaperFile:
    return PaperFile.model_validate(declared.model_dump() | {"miniature": tables})
