"""How all figures look: the same optimizer always in the same, colour-blind-safe colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.figure import Figure  # the backend is chosen first

# Okabe and Ito 2008; dark enough on white, told apart with any colour vision.
OPTIMIZER_COLOURS = {
    "sgd": "#D55E00",
    "momentum": "#E69F00",
    "adam": "#0072B2",
    "adamw": "#56B4E9",
    "muon": "#009E73",
    "muon_keras": "#CC79A7",
}
OPTIMIZER_MARKERS = {
    "sgd": "o",
    "momentum": "s",
    "adam": "^",
    "adamw": "v",
    "muon": "D",
    "muon_keras": "P",
}
OPTIMIZER_NAMES = {
    "sgd": "SGD",
    "momentum": "SGD + momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "muon": "Muon",
    "muon_keras": "Muon (Keras)",
}
FORMATS = ("png", "svg", "pdf")
DOTS_PER_INCH = 160


def apply() -> None:
    """Set matplotlib's defaults for this process."""
    mpl.rcParams.update(
        {
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "svg.fonttype": "none",
        }
    )


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write a figure in each format; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path in paths:
        figure.savefig(path, dpi=DOTS_PER_INCH)
    return paths
