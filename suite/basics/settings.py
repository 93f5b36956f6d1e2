"""How a setting is declared, and how an impossible value is answered.

A group of settings is a frozen pydantic model whose fields carry a :class:`Setting`. Flags, help
texts, MLproject parameters and error lines are derived from the fields.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

SEED_LIMIT = 2**63
LONGEST_ECHO = 80  # characters of a value that an error line repeats


class ConfigError(ValueError):
    """A setting that cannot be: one line each with field, rule, value received and remedy."""

    def __init__(self, *lines: str) -> None:
        # What a line repeats of a file may hold line breaks.
        self.lines = tuple(" ".join(line.splitlines()) for line in lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True)
class Setting:
    """What a person needs to know about a field besides its type, default and range."""

    help: str
    unit: str = ""
    # The field acts only where each named field has one of the values; elsewhere it is not part
    # of the run's identity, and a value other than its default is refused.
    only_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Values besides the default that are not refused where the field does not act.
    harmless: tuple[Any, ...] = ()
    # For a field added later: the value which earlier runs implicitly had. At that value it is
    # left out of the fingerprint, so that their identity does not change.
    implicit: Any = None
    # How a value stands in a name, such as "η={}"; or the word for each value of a closed list.
    short: str | Mapping[str, str] = "{}"
    # The setting acts before the first step only: it perturbs where training starts, and nothing of
    # how it goes on. Whether training remembers it can be asked.
    initial: bool = False


class Settings(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, given: Any) -> Any:
        return _no_truth_value(given)

    @model_validator(mode="after")
    def _all_act(self) -> Self:
        """Refuse a value that was chosen for a setting without effect."""
        for name in self.conditions():
            ignored = (self.default(name), *self.about(name).harmless)
            if not self.acts(name) and getattr(self, name) not in ignored:
                raise ValueError(self._without_effect(name))
        return self

    def acts(self, name: str) -> bool:
        """Whether setting `name` has any effect beside the others' values."""
        needed = self.conditions().get(name, {})
        return all(getattr(self, other) in values for other, values in needed.items())

    def _without_effect(self, name: str) -> str:
        """The error line for a setting without effect."""
        needed = self.conditions()[name].items()
        other, values = next(item for item in needed if getattr(self, item[0]) not in item[1])
        remedy = f"leave it at {self.default(name)}" if self.default(name) else "leave it out"
        return (
            f"{name}: acts only with {other}={' or '.join(values)}, got {getattr(self, name)} "
            f"with {other}={getattr(self, other)}; {remedy}"
        )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the settings, in their order of declaration."""
        return tuple(cls.model_fields)

    @classmethod
    def about(cls, name: str) -> Setting:
        """The declaration of setting `name`."""
        return _declaration(cls, name)

    @classmethod
    def conditions(cls) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """The settings that act only with others, each with the values it needs of them."""
        return _conditions(cls)

    @classmethod
    def implicits(cls) -> Mapping[str, Any]:
        """The settings that were added later, each with the value which earlier runs had."""
        return _implicits(cls)

    @classmethod
    def initials(cls) -> tuple[str, ...]:
        """The settings that act before the first step only, in their order of declaration."""
        return tuple(name for name in cls.names() if cls.about(name).initial)

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of setting `name`."""
        return cls.model_fields[name].default

    @classmethod
    def word(cls, name: str, value: Any) -> str:
        """A setting's value as it stands in a name: "b128", "η=0.01", "LN".

        Different values have different words: no digit of a number is dropped.
        """
        short = cls.about(name).short
        if not isinstance(short, str):
            return short[value]
        return short.format(_number(value) if isinstance(value, float) else value)

    @classmethod
    def choices(cls, name: str) -> tuple[str, ...]:
        """The values a setting may take, if they are a closed list; else an empty tuple."""
        annotation = cls.model_fields[name].annotation
        return get_args(annotation) if get_origin(annotation) is Literal else ()

    @classmethod
    def range(cls, name: str) -> str:
        """The range of a setting in words: 'sgd | momentum | …', '> 0', '≥ 0, < 1', or ''."""
        return " | ".join(cls.choices(name)) or ", ".join(cls._bounds(name))

    @classmethod
    def _bounds(cls, name: str) -> Iterator[str]:
        signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
        for constraint in cls.model_fields[name].metadata:
            for attribute, sign in signs.items():
                bound = getattr(constraint, attribute, None)
                if bound is not None and bound != SEED_LIMIT:
                    yield f"{sign} {bound}"

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Self:
        """The group from values given as text or numbers; the rest stay at their defaults.

        Raises
        ------
        ConfigError
            One line for each unknown setting or impossible value.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            raise ConfigError(*(cls._line(problem) for problem in error.errors())) from None

    @classmethod
    def value(cls, name: str, given: Any) -> Any:
        """One setting's value, given as text or number, in its own type.

        Raises
        ------
        ConfigError
            If there is no such setting, or the value is outside its range.
        """
        if name not in cls.model_fields:
            raise ConfigError(unknown(name, given, cls.names()))
        info = cls.model_fields[name]
        rules = [rule for rule in info.metadata if not isinstance(rule, Setting)]
        kind: Any = Annotated[info.annotation, *rules, BeforeValidator(_no_truth_value)]
        try:
            return TypeAdapter(kind, config=cls.model_config).validate_python(given)
        except ValidationError as error:
            problems = [{**problem, "loc": (name,)} for problem in error.errors()]
            raise ConfigError(*(cls._line(problem) for problem in problems)) from None

    @classmethod
    def _line(cls, problem: Any) -> str:
        if not problem["loc"]:  # a rule about several settings, which words itself
            return str(problem["ctx"]["error"])
        name, value = str(problem["loc"][0]), problem["input"]
        if problem["type"] == "extra_forbidden":
            return unknown(name, value, cls.names())
        rule, hint = problem["msg"].removeprefix("Input ").replace("should be", "must be"), ""
        if problem["type"] == "value_error":  # a rule of a validator's own: "rule|remedy"
            rule, _, hint = str(problem["ctx"]["error"]).partition("|")
        elif choices := cls.choices(name):
            rule = f"must be one of {', '.join(choices)}"
            close = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"did you mean {close[0]}?" if close else ""
        elif problem["type"] == "string_pattern_mismatch":
            rule = f"must be {cls.about(name).help}"
        elif problem["type"] == "int_parsing_size":
            rule = "must be a smaller number"
        return f"{name}: {rule}, got {shown(value)}; {hint or cls._remedy(name)}"

    @classmethod
    def _remedy(cls, name: str) -> str:
        if cls.default(name) == "":
            return "leave it out"
        allowed = f" {cls.range(name)}" if cls.range(name) else ""
        return f"give a value{allowed}, such as {cls.default(name)}"


def _no_truth_value(given: Any) -> Any:
    """Refuse what pydantic would take for 0 or 1."""
    if isinstance(given, bool):
        raise ValueError("must be a number or a text, no truth value|")
    return given


def _number(value: float) -> str:
    """A number in a few digits where they say all of it, else in all of its digits."""
    text = f"{value:g}"
    return text if float(text) == value else repr(value)


class _Echo(reprlib.Repr):
    """Looks at no more of a value than a line repeats; aliases in YAML may hold billions."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict, self.maxtuple = 4, 10, 10, 10
        self.maxstring = self.maxlong = self.maxother = 2 * LONGEST_ECHO

    def repr_int(self, x: int, level: int) -> str:
        # Python writes no number of thousands of digits, nor does a line need it.
        return hex(x)[: self.maxlong] if abs(x) >= SEED_LIMIT**4 else super().repr_int(x, level)


ECHO = _Echo()


def shown(value: Any) -> str:
    """A value as an error line repeats it."""
    text = ECHO.repr(value)
    return text if len(text) <= LONGEST_ECHO else f"{text[:LONGEST_ECHO]}…"


@cache
def _declaration(settings: type[Settings], name: str) -> Setting:
    metadata = settings.model_fields[name].metadata
    return next(item for item in metadata if isinstance(item, Setting))


# Asked for at every point of a grid, so the declarations are gone through once.
@cache
def _conditions(settings: type[Settings]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    declared = {name: settings.about(name).only_with for name in settings.names()}
    return {name: needed for name, needed in declared.items() if needed}


@cache
def _implicits(settings: type[Settings]) -> Mapping[str, Any]:
    declared = {name: settings.about(name).implicit for name in settings.names()}
    return {name: value for name, value in declared.items() if value is not None}


def unknown(name: str, value: Any, known: tuple[str, ...]) -> str:
    """The line that answers a setting which does not exist."""
    close = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "--help lists all settings"
    return f"{name}: is no setting, got {shown(value)}; {remedy}"
