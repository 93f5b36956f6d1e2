"""What recipes are called and how they are ordered: by the settings in which they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from suite.declarations.config import RunConfig
from suite.declarations.network_settings import RESNETS

# Always named where they vary, in this order; all others only where recipes would share a name.
FIRST = (
    "dataset",
    "model",
    "norm",
    "augmentation",
    "schedule",
    "epochs",
    "optimizer",
    "learning_rate",
    "kernel_l2",
    "batch_size",
    *RunConfig.initials(),
)
ALONE = ("optimizer", "batch_size")


def word(name: str, value: Any) -> str:
    """A value of a setting, or of a bundle of settings, in a label: 'sgd', 'b128', 'η=0.01'."""
    return RunConfig.word(name, value) if name in RunConfig.model_fields else str(value)


def labels(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names of recipes, all different, from the settings in which the recipes differ.

    Parameters
    ----------
    identities
        Each recipe's acting settings, no two alike; a setting that does not act is absent.

    Returns
    -------
    list of str
        Such as 'sgd b128' or 'η=0.01 λ=0.001 b16'. A single recipe is called by its optimizer and
        batch size.
    """
    if len(identities) == 1:
        return [_label(identities[0], ALONE)]
    varying = _varying(identities)
    named = [name for name in FIRST if name in varying]
    while True:
        names = [_label(identity, named) for identity in identities]
        shared = {name for name, count in Counter(names).items() if count > 1}
        clashing = [i for i, name in zip(identities, names, strict=True) if name in shared]
        useful = [name for name in _varying(clashing) if name not in named]
        if not useful:
            break
        named.append(useful[0])
    names = [name or _implied(one, named) for one, name in zip(identities, names, strict=True)]
    # Values that are written alike, such as rates that differ in the seventh digit, in full.
    return [
        _label(identity, named, exact=True) if name in shared else name
        for identity, name in zip(identities, names, strict=True)
    ]


def sort_key(identity: Mapping[str, Any]) -> tuple[tuple[int, Any], ...]:
    """The order of recipes: by the settings of a label, as declared or ascending."""
    rest = [name for name in RunConfig.names() if name not in FIRST]
    implicits = RunConfig.implicits()
    return tuple(_rank(name, identity.get(name, implicits.get(name))) for name in (*FIRST, *rest))


def _varying(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        name
        for name in RunConfig.names()
        if len({identity.get(name) for identity in identities}) > 1
    ]


def _label(identity: Mapping[str, Any], names: Sequence[str], *, exact: bool = False) -> str:
    return " ".join(
        f"{name}={identity[name]}" if exact else word(name, identity[name])
        for name in names
        if name in identity
    )


def _implied(identity: Mapping[str, Any], names: Sequence[str]) -> str:
    """Of an identity that has none of the settings: what they implicitly are.

    A setting that was added later is not in an identity at the value that all runs had before.
    """
    implicits = RunConfig.implicits()
    needed = RunConfig.conditions()
    return " ".join(
        word(name, implicits[name])
        for name in names
        if name in implicits
        and all(
            identity.get(other, implicits.get(other)) in values
            for other, values in needed.get(name, {}).items()
        )
    )


def _rank(name: str, value: Any) -> tuple[int, Any]:
    if value is None:
        return (-1, "")
    order = RESNETS if name == "model" else RunConfig.choices(name)
    if value in order:
        return (order.index(value), "")
    return (len(order), value)
