"""How a number of a claim is written in its unit."""

from __future__ import annotations

import math

DECIMALS = {"pp": 1, "%": 1, "epochs": 1, "ratio": 2, "log/log": 2, "1/σw": 3, "D": 2}

SPOKEN = ("pp", "%", "epochs")  # units that stand behind a number; the statement has the others


def number(value: float, unit: str) -> str:
    """The number without its unit, as exactly as it is worth; '–' where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if unit in DECIMALS:
        return f"{round(value, DECIMALS[unit]) + 0.0:.{DECIMALS[unit]}f}"  # adding 0: −0.0 is 0
    return f"{value + 0.0:.3g}"


def in_unit(value: float, unit: str) -> str:
    """The number with its unit."""
    return f"{number(value, unit)} {unit}" if unit in SPOKEN else number(value, unit)


def with_interval(ours: float, low: float, high: float, unit: str, *, n: int) -> str:
    """Such as '25.9 [24.8, 27.0]'; of arithmetic, which has no seeds, the number alone."""
    if math.isnan(low) or n == 0:
        return number(ours, unit)
    return f"{number(ours, unit)} [{number(low, unit)}, {number(high, unit)}]"
