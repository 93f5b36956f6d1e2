"""What every claim declares, and how a number of the paper becomes a range that agrees with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WORTH_A_WORD = 0.05
NO_EXPERIMENT = "none"  # where a claim needs no runs
Printed = int | float  # 26 stays 26, and 85.0 stays 85.0, as the paper prints them


class Declared(BaseModel):
    """A table of the data file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerance(Declared):
    """How far a rerun may be from the paper's number and still agree: the largest of the given."""

    reason: str
    absolute: float = 0.0
    relative: float = 0.0
    digits: int = 0

    def width(self, value: float) -> float:
        """The tolerance at a number, in its unit."""
        half_unit = 0.0
        if self.digits and value:
            half_unit = 0.5 * 10 ** (math.floor(math.log10(abs(value))) + 1 - self.digits)
        return max(self.absolute, self.relative * abs(value), half_unit)


@dataclass(frozen=True)
class Region:
    """The values that agree with the paper, tolerance included, and how that is written."""

    lower: float
    upper: float
    text: str

    def less(self, bias: float) -> Region:
        """The same without the bias that is in the paper's number and not in our interval."""
        said = f" (less {bias:.1f} of bias)" if bias >= WORTH_A_WORD else ""
        return Region(self.lower - bias, self.upper - bias, self.text + said)


class AnyClaim(Declared):
    """Where the paper says it, what it says in our words, and its unit.

    Attributes
    ----------
    not_reduced
        Why it has no meaning at reduced scale, where it has none.
    about
        Settings that tell its recipes apart, and must at reduced scale too.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    place: Annotated[str, Field(pattern=r"^(§|App\. )", max_length=40)]
    statement: Annotated[str, Field(max_length=47)]
    unit: str
    paper: Annotated[str, Field(max_length=21)] = ""  # the paper's words, where it gives no number
    note: str = ""
    not_reduced: str = ""
    about: tuple[str, ...] = ()

    @property
    def only_full_scale(self) -> str:
        """Why it is judged at the paper's recipe alone; '' where it is judged elsewhere too."""
        return self.not_reduced


NUMBER_ALONE = "a number is judged at the paper's recipe alone"


class AnyNumber(AnyClaim):
    """A claim about a number: exactly one of value, range, at_least and at_most.

    Attributes
    ----------
    reduced
        Why a bound has the same meaning at reduced scale, where it has.
    """

    value: Printed | None = None
    range: tuple[Printed, Printed] | None = None
    at_least: Printed | None = None
    at_most: Printed | None = None
    tolerance: str
    reduced: str = ""

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        given = [self.value, self.range, self.at_least, self.at_most]
        if sum(number is not None for number in given) != 1:
            raise ValueError("exactly one of value, range, at_least and at_most")
        return self

    @property
    def only_full_scale(self) -> str:
        """Why it is judged at the paper's recipe alone; '' where it is judged elsewhere too."""
        return NUMBER_ALONE if self.value is not None else self.not_reduced

    @property
    def bounds(self) -> tuple[float, float]:
        """The paper's number as a range, without the tolerance."""
        if self.range is not None:
            return self.range
        if self.value is not None:
            return self.value, self.value
        if self.at_least is not None:
            return self.at_least, math.inf
        return -math.inf, self.at_most if self.at_most is not None else math.inf

    @property
    def paper_text(self) -> str:
        """What the paper gives."""
        return self.paper or _written(*self.bounds)

    def region(self, tolerance: Tolerance) -> Region:
        """What agrees with it."""
        lower, upper = self.bounds
        below, above = (
            tolerance.width(bound) if math.isfinite(bound) else 0 for bound in (lower, upper)
        )
        if math.isinf(lower) or math.isinf(upper):
            text = _written(lower - below, upper + above, "{:g}")
        else:
            text = _written(lower, upper) + (f" ± {max(below, above):.3g}" if above else "")
        return Region(lower - below, upper + above, text)


def _written(lower: float, upper: float, form: str = "{}") -> str:
    if math.isinf(upper):
        return f"≥ {form.format(lower)}"
    if math.isinf(lower):
        return f"≤ {form.format(upper)}"
    return f"{lower}" if lower == upper else f"{lower} to {upper}"
