"""Estimate frames with known numbers for tests of figures, and what is read back from one."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import Look

SCALES = (0.1, 1.0, 2.5)
LOOKS = {"SGD": Look("#D55E00", "o"), "Adam": Look("#0072B2", "^")}


def panels(figure: Figure) -> list[Any]:
    """The panels that are seen, without colour bars."""
    return [p for p in figure.axes if p.get_visible() and p.get_label() != "<colorbar>"]


def scale_table() -> pd.DataFrame:
    rows = []
    for size in (16, 64):
        for optimizer, fall in (("sgd", 0.1), ("adam", 0.01)):
            for scale in SCALES:
                mean = 0.9 - fall * scale
                rows.append(
                    {
                        "recipe": f"{optimizer} b{size}",
                        "family": optimizer,
                        "optimizer": optimizer,
                        "batch_size": size,
                        "sigma_w": scale,
                        "n": 3,
                        "mean": mean,
                        "p10": mean - 0.01,
                        "p90": mean + 0.01,
                        "memory": 2.4 * fall,
                        "fitted_at_best": not (optimizer == "sgd" and scale > 1),
                        "diverged": 0,
                        "untrained": 0,
                    }
                )
    return pd.DataFrame(rows)


def recipe_table() -> pd.DataFrame:
    """SGD at three rates and two batch sizes; memory is lost from a rate of 1e-2 on at b = 16."""
    rows = []
    for rate, small, large in ((1e-3, 0.20, 0.24), (1e-2, 0.03, 0.20), (1e-1, 0.0, 0.01)):
        for size, value in ((16, small), (128, large)):
            rows.append(
                {
                    "family": f"η={rate:g}",
                    "facet": "sgd",
                    "optimizer": "sgd",
                    "learning_rate": rate,
                    "kernel_l2": 0.0,
                    "batch_size": size,
                    "T_SGD": rate**2 / size**2 * 1e6,
                    "T_L2": 0.0,
                    "T_adapt": rate / size * 1e4,
                    "own_clock": "T_SGD",
                    "memory": value + 0.005,
                    "corrected": value,
                    "low": max(0.0, value - 0.02),
                    "high": value + 0.03,
                    "diverged": 0,
                    "untrained": 0,
                    "scales_failed": 0,
                }
            )
    return pd.DataFrame(rows)


def by_label(panel: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in panel.get_lines()}


def accuracy(**means: tuple[float, ...]) -> pd.DataFrame:
    rows = [
        {"line": name, "sigma_w": scale, "mean": mean, "p10": mean - 0.01, "p90": mean + 0.02}
        for name, values in means.items()
        for scale, mean in zip(SCALES, values, strict=True)
    ]
    return pd.DataFrame(rows)
