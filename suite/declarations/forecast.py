"""What theory expects of a recipe before it is trained: the clocks at its end, and a word.

Das et al. 2026, §4: memory goes once the clock of an acting mechanism reaches order one. The
thresholds are those of the paper's own checks (§4.2): at T_SGD ≈ 10⁻² all memory is there, at 4.7
most has gone; at T_L2 ≈ 0.94 half is there, at 4.7 none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig
from suite.declarations.update_constants import ADAPTIVE

REMEMBERS_BELOW, FORGETS_FROM = 0.1, 1.0

Word = Literal["remembers", "in between", "forgets"]


@dataclass(frozen=True)
class Forecast:
    """The clocks at the end of all epochs, and what they let expect."""

    clock_sgd: float
    clock_l2: float
    clock_adapt: float
    word: Word


def forecast(config: RunConfig, train_images: int) -> Forecast:
    """What to expect of a run.

    Parameters
    ----------
    config
        The run.
    train_images
        Images in its training split.

    Notes
    -----
    T_adapt acts under adaptive rules only. Momentum moves as plain SGD at rate η/(1−μ) does, so
    its T_SGD and T_L2 are judged at that rate; the clocks returned are the paper's own.
    """
    ends = clocks(config, train_images)
    sgd, l2, adapt = float(ends.sgd[-1]), float(ends.l2[-1]), float(ends.adapt[-1])
    gain = 1 / (1 - config.momentum) if config.optimizer == "momentum" else 1.0
    acting = max(gain**2 * sgd, gain * l2, adapt if config.optimizer in ADAPTIVE else 0.0)
    if acting >= FORGETS_FROM:
        return Forecast(sgd, l2, adapt, "forgets")
    return Forecast(sgd, l2, adapt, "remembers" if acting < REMEMBERS_BELOW else "in between")
