"""In which settings two recipes differ, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.estimates.recipe_labels import word
from suite.declarations.config import PERTURBED, RunConfig

Pairs = Mapping[str, tuple[Any, Any]]


def acting(config: RunConfig) -> dict[str, Any]:
    """The settings of a recipe that have an effect, in the order of their declaration.

    A recipe's identity leaves out a setting that was added later where it has the value that
    earlier runs had; here it is in, so that a change of it is seen from both sides.
    """
    identity = config.recipe
    later = {name: v for name, v in config.implicits().items() if config.acts(name)}
    known = later | identity
    return {name: known[name] for name in RunConfig.names() if name in known}


def differences(paper: RunConfig, other: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that act in both and differ: name to (paper's, other's)."""
    own, theirs = acting(paper), acting(other)
    both = [name for name in own if name in theirs and own[name] != theirs[name]]
    return {name: (_said(paper, name, own), _said(other, name, theirs)) for name in both}


def _said(config: RunConfig, name: str, values: Mapping[str, Any]) -> Any:
    """The value, in full where 0 stands for that of the semantics."""
    return config.momentum_of_norm if name == "norm_momentum" else values[name]


def changes(declared: RunConfig, other: RunConfig) -> dict[str, Any]:
    """What must be set to get the other recipe from a declared one: setting to its value."""
    own, theirs = acting(declared), acting(other)
    return {
        name: value
        for name, value in theirs.items()
        if name not in PERTURBED and (name not in own or own[name] != value)
    }


def differences_text(found: Pairs) -> str:
    """Such as 'digits instead of cifar10, width 8 instead of width 64'."""
    return ", ".join(
        f"{word(name, other)} instead of {word(name, own)}" for name, (own, other) in found.items()
    )
