"""How all figures look: the same optimizer always in the same, colour-blind-safe colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")

from matplotlib.axis import Axis  # the backend is chosen first
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

RGBA = tuple[float, float, float, float]


# --- colours, markers and dashes ---
@dataclass(frozen=True)
class Look:
    """How a line looks."""

    colour: Any
    marker: str
    dashes: Any = "-"


@dataclass(frozen=True)
class OptimizerLook:
    """How an optimizer is written and drawn in every figure."""

    name: str
    colour: str
    marker: str


# Colours of Okabe and Ito 2008, and a dark brown of Tol's; dark enough on white, told apart with
# any colour vision: with a kind of cone missing, the closest two are 16 apart in CIELAB.
OPTIMIZERS = {
    "sgd": OptimizerLook("SGD", "#D55E00", "o"),
    "momentum": OptimizerLook("SGD + momentum", "#E69F00", "s"),
    "adam": OptimizerLook("Adam", "#0072B2", "^"),
    "adamw": OptimizerLook("AdamW", "#56B4E9", "v"),
    "muon": OptimizerLook("Muon", "#009E73", "D"),
    "muon_keras": OptimizerLook("Muon (Keras)", "#CC79A7", "P"),
    "lion": OptimizerLook("Lion", "#661100", "*"),
}


def optimizer_look(optimizer: str) -> OptimizerLook:
    """The look of an optimizer; one that nobody has given a look yet is drawn in grey."""
    return OPTIMIZERS.get(optimizer, OptimizerLook(optimizer, "#444444", "X"))


# How lines that share a colour are told apart.
DASHES: tuple[Any, ...] = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "v", "D", "P")

CLOCK_LABELS = {"T_SGD": "T_SGD = (1/b) Σ η²", "T_L2": "T_L2 = λ Σ η", "T_adapt": "T_adapt = Σ η"}

# One hue order from small to large batch, dark to light, told apart in grey as well.
BATCH_MAP = "viridis"
ACCURACY_MAP = "viridis"
MEMORY_MAP = "YlOrBr"
LAYER_MAP = "cividis"
REMEMBER_COLOUR = "#F6D9C4"
FORGET_COLOUR = "#D3E3F0"
REMEMBER_INK = "#8A3D0C"  # the same on paper, dark enough to be read
FORGET_INK = "#1F4E79"


# --- matplotlib for this process ---
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


# --- names and legends ---
def recipe_name(label: str) -> str:
    """A recipe's label with its optimizer as it is written in prose."""
    words = label.split(" ")
    place = next((at for at, word in enumerate(words) if word in OPTIMIZERS), 0)
    words[place] = optimizer_look(words[place]).name
    return " ".join(words)


def optimizer_handles(names: Iterable[str]) -> list[Line2D]:
    """A legend entry for each optimizer, once, with its marker."""
    return [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            linestyle="",
            markersize=7,
            label=look.name,
        )
        for look in map(optimizer_look, dict.fromkeys(names))
    ]


def hollow_handle(label: str) -> Line2D:
    """The legend entry that says what a hollow marker means."""
    return Line2D(
        [], [], color="#555555", marker="o", markerfacecolor="white", linestyle="", label=label
    )


# --- colours and axes ---
def batch_colours(sizes: Sequence[int]) -> dict[int, RGBA]:
    """A colour for each batch size, the smallest darkest."""
    places = np.linspace(0.0, 0.82, len(sizes)) if len(sizes) > 1 else [0.0]
    shades = mpl.colormaps[BATCH_MAP]
    return {size: shades(place) for size, place in zip(sorted(sizes), places, strict=True)}


def darker(colour: str) -> tuple[float, float, float]:
    """The colour as ink: a third darker, so that words in it can be read."""
    red, green, blue = (0.68 * channel for channel in to_rgb(colour))
    return red, green, blue


def ink_on(colour: Sequence[float] | NDArray[np.float64]) -> str:
    """Black or white, whichever reads better on a colour."""
    return "black" if np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.55 else "white"


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Readable ticks of a logarithmic axis, also where it spans less than two decades."""
    narrow = high < 100 * low
    if not narrow:
        subs: tuple[float, ...] = (1.0,)
    elif high >= 5 * low:
        subs = (1.0, 2.0, 5.0)
    else:
        # With a single tick in sight the locator would space many evenly; their labels overlap.
        subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs))
    if narrow:
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    """A number in few letters: 0.02, but 2·10⁻⁶ for what would have more zeros than digits."""
    text = f"{value:.3g}"
    digits, sign, power = text.partition("e")
    return rf"${digits}\cdot10^{{{int(power)}}}$" if sign else text
