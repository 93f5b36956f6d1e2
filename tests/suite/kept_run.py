"""A finished run as the state directory keeps it."""

from __future__ import annotations

from typing import Any

import torch

from suite.declarations.config import parse
from suite.declarations.metrics import EpochRecord
from suite.engine.runs import TrainedRun

CONFIG = parse({"width": 4, "epochs": 2, "seed": 7})
KEY = CONFIG.fingerprint
STORE = ("sqlite:///mlflow.db", "0")


def finished_run(**changes: Any) -> TrainedRun:
    history = [
        EpochRecord(1, 1700000000001, 2.5, 0.1, float("nan"), 0.2, 3.0, 1e-3),
        EpochRecord(2, 1700000000002, 0.1 + 0.2, 1 / 3, 1.5, 0.3, 3.5, 1e-5),
    ]
    fields: dict[str, Any] = {
        "config": CONFIG,
        "history": history,
        "summary": {"test_accuracy": 1 / 3, "best_epoch": 2, "clock_sgd": 1e-300},
        "diverged": False,
        "parameters": {"stem/kernel": torch.randn(2, 3, generator=torch.Generator())},
        "buffers": {"stem/mean": torch.ones(2)},
    }
    return TrainedRun(**(fields | changes))
