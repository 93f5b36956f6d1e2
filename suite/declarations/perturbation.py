"""The perturbed setting: which of those that act before the first step memory is measured of.

A recipe is all settings of a run but the perturbed one and the seed. What training remembers can be
asked of every setting that is declared as `initial`; the paper asks it of σw, which is the default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from suite.basics.settings import ConfigError, Settings, shown
from suite.declarations.config import RunConfig

LONGEST_LABEL = 50  # letters along an axis


@dataclass(frozen=True)
class Perturbation:
    """A setting whose traces are looked for.

    Attributes
    ----------
    name
        The setting's, and that of the columns that hold its values.
    symbol
        What it is called in texts, such as 'σw'; its name in words where it has no sign.
    label
        What it is called along an axis.
    numeric
        Whether its values are numbers. Of categories there is a memory, and no slope.
    categories
        All categories in the order of their declaration; empty for numbers.
    """

    name: str
    symbol: str
    label: str
    numeric: bool
    categories: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """Its name in the name of a file."""
        return self.name.replace("_", "-")

    def ordered(self, values: Iterable[Any]) -> list[Any]:
        """Different values, ascending or as they are declared."""
        return sorted(set(values), key=self.rank)

    def rank(self, value: Any) -> Any:
        """By what values are sorted: categories that are not declared come last."""
        if self.numeric:
            return value
        known = value in self.categories
        return (self.categories.index(value) if known else len(self.categories), str(value))

    def value(self, value: Any) -> str:
        """A value as it stands along an axis."""
        return f"{value:g}" if self.numeric else str(value)

    def word(self, value: Any) -> str:
        """A value with the symbol: 'σw=0.1'."""
        return f"{self.symbol}={self.value(value)}"


def declared(settings: type[Settings], name: str) -> Perturbation:
    """The perturbation by a setting, as its declaration describes it."""
    about = settings.about(name)
    categories = settings.choices(name)
    numeric = not categories and settings.model_fields[name].annotation in (int, float)
    plain = name.replace("_", " ")
    short = about.short if isinstance(about.short, str) else ""
    sign, equals, _ = short.partition("={")  # "depth^{}" is a word in a name, and no sign
    if not equals:  # its name is what a person knows it by
        return Perturbation(name, plain, plain, numeric, categories)
    what = re.split(r"[:;,(|]", about.help, maxsplit=1)[0].strip()
    what = what if len(what) <= LONGEST_LABEL else plain
    label = what if sign in what.split() else f"{what}, {sign}"
    return Perturbation(name, sign, label, numeric, categories)


SIGMA_W = declared(RunConfig, "sigma_w")


def perturbation(name: str) -> Perturbation:
    """The perturbation that is named by its setting; σw where the name is empty.

    Raises
    ------
    ConfigError
        If it is no setting, or one that acts on after the first step.
    """
    known = RunConfig.initials()
    if not name:
        return SIGMA_W
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {close[0]}?" if close else "name one of these"
        raise ConfigError(
            "perturbation: must be a setting that acts before the first step only "
            f"({', '.join(known)}), got {shown(name)}; {remedy}"
        )
    return declared(RunConfig, name)
