"""One run's configuration: all its settings, which say who it is and what it is called.

The settings are declared once, group by group: `data_settings`, `network_settings`,
`start_settings` and `training_settings` have type, default, range, unit and meaning of each.

Command-line flags, the MLproject parameter block, MLflow parameters, grid axes and the settings
table of the documentation are derived from the fields of :class:`RunConfig`. What changes a run by
rounding at most (device, threads, paths, worker counts) is not here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import field_validator, model_validator

from suite.basics.settings import ConfigError
from suite.declarations.data_settings import DataSettings
from suite.declarations.datasets import KNOWN
from suite.declarations.network_settings import NetworkSettings
from suite.declarations.start_settings import StartSettings
from suite.declarations.training_settings import TrainingSettings
from suite.declarations.update_constants import NORM_MOMENTUM

__all__ = ["ConfigError", "RunConfig", "parse"]

FINGERPRINT_LENGTH = 16
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

# What is varied to see what training remembers, and what repeats it: all settings but these make a
# recipe, as runs are named and listed. The analysis can ask the same of another initial setting
# (`suite.declarations.perturbation`); σw then is one of a recipe's settings.
PERTURBED = ("sigma_w", "seed")
# What is trained, and on which images: only of one network are memories comparable.
NETWORK = tuple(
    name
    for name in (*DataSettings.names(), *NetworkSettings.names())
    if name not in ("augmentation", "norm_momentum")
)
# What a recipe's name says first, and what it says even where it is at its default.
NAMED_FIRST = (
    *("dataset", "model", "norm", "augmentation"),
    *("optimizer", "batch_size", "learning_rate", "kernel_l2"),
)
ALWAYS_NAMED = ("optimizer", "batch_size")


# pydantic takes the fields of the last base first.
class RunConfig(TrainingSettings, StartSettings, NetworkSettings, DataSettings):
    """One configuration: everything that decides a run's numbers, and nothing else."""

    @field_validator("*")
    @classmethod
    def _unsigned_zero(cls, value: Any) -> Any:
        return value + 0.0 if isinstance(value, float) else value  # -0.0 and 0.0 are one run

    @model_validator(mode="after")
    def _no_l2_under_mup(self) -> Self:
        if self.parameterization == "mup" and self.kernel_l2:
            raise ValueError(
                "kernel_l2: must be 0 with parameterization=mup, which has no one strength for all "
                f"layers, got {self.kernel_l2}; leave it at 0 or take adamw and weight_decay"
            )
        return self

    @property
    def momentum_of_norm(self) -> float:
        """What a step keeps of BatchNorm's running statistics (the semantics' where it is 0)."""
        return self.norm_momentum or NORM_MOMENTUM[self.semantics]

    def identity(self) -> dict[str, Any]:
        """The settings that make this run what it is, in their canonical values."""
        identity = {name: getattr(self, name) for name in self.names()}
        for name in self.conditions():
            if not self.acts(name):
                del identity[name]
        if "norm_momentum" in identity and self.momentum_of_norm == NORM_MOMENTUM[self.semantics]:
            identity["norm_momentum"] = 0.0
        for name, implicit in self.implicits().items():
            if name in identity and identity[name] == implicit:
                del identity[name]
        if "width" in identity:
            identity["width"] = self.channels
        return identity

    @cached_property
    def fingerprint(self) -> str:
        """The run's identity: first 16 hexadecimal digits of SHA-256 over its canonical JSON."""
        return _fingerprint(self.identity())

    @property
    def recipe(self) -> dict[str, Any]:
        """The identity without what is perturbed: what runs of other scales and seeds share."""
        return self.recipe_of(PERTURBED[0])

    def recipe_of(self, perturbed: str) -> dict[str, Any]:
        """The recipe where setting `perturbed` is varied in place of σw: identity without it."""
        apart = (perturbed, PERTURBED[1])
        return {name: v for name, v in self.identity().items() if name not in apart}

    @cached_property
    def recipe_fingerprint(self) -> str:
        """The recipe's identity, as :attr:`fingerprint` is the run's."""
        return _fingerprint(self.recipe)

    @property
    def recipe_name(self) -> str:
        """What a person calls the recipe: its optimizer, its batch size and whatever it has that
        is not at its default. Recipes of one name are one recipe.
        """
        recipe = self.recipe
        order = dict.fromkeys((*NAMED_FIRST, *recipe))
        words = [
            self.word(name, recipe[name])
            for name in order
            if name in recipe and (name in ALWAYS_NAMED or recipe[name] != self.default(name))
        ]
        return " ".join(words)

    @property
    def run_name(self) -> str:
        """What a person reads in a list of runs."""
        return " ".join(
            [self.recipe_name, *(self.word(name, getattr(self, name)) for name in PERTURBED)]
        )

    def parameters(self) -> dict[str, str]:
        """The settings as MLflow parameters."""
        return {name: str(getattr(self, name)) for name in self.names()}

    def with_(self, **changes: Any) -> RunConfig:
        """A configuration with some settings replaced, validated anew.

        Raises
        ------
        ConfigError
            If the result is not a possible configuration.
        """
        return parse(self.model_dump() | changes)

    @property
    def training_part(self) -> int | None:
        """Images that training and validation share; None for a folder not yet read."""
        facts = KNOWN.get(self.dataset)
        return facts.training_part if facts else None


def _fingerprint(identity: Mapping[str, Any]) -> str:
    text = CANONICAL.encode(identity)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def parse(settings: Mapping[str, Any]) -> RunConfig:
    """A run's configuration; see :meth:`suite.basics.settings.Settings.parse`."""
    return RunConfig.parse(settings)
