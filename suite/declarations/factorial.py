"""A full factorial of configurations: axes × fixed settings × seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from suite.declarations.config import RunConfig, parse


@dataclass(frozen=True)
class Experiment:
    """A full factorial of configurations.

    Attributes
    ----------
    axes
        Setting or bundle name to its values. A value of a bundle is a key of `bundles[name]`.
        An axis is a setting, or a *bundle* of settings that change together, under a name.
    bundles
        Bundle name to {value: settings which that value stands for}.
    fixed
        Settings that all runs share.
    miniature_of
        The experiment of the paper of which this is one at reduced scale; '' if of none.
    """

    name: str
    description: str
    source: str
    axes: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    bundles: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    miniature_of: str = ""

    @property
    def size(self) -> int:
        """Number of runs."""
        size = 1
        for values in self.axes.values():
            size *= len(values)
        return size

    def points(self) -> Iterator[dict[str, Any]]:
        """Every combination of axis values, axis name to value."""
        names = list(self.axes)
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(names, values, strict=True))

    def settings(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The settings which one combination of axis values stands for."""
        settings = dict(self.fixed)
        for name, value in point.items():
            settings |= self.bundles[name][value] if name in self.bundles else {name: value}
        return settings

    def config(self, point: Mapping[str, Any]) -> RunConfig:
        """The configuration of one combination of axis values.

        Raises
        ------
        ConfigError
            If it is not a possible one.
        """
        return parse(self.settings(point))

    def on(self, run: Mapping[str, Any]) -> Experiment:
        """The same experiment, whose runs take from `run` what it neither varies nor fixes."""
        bundled = {key for one in self.bundles.values() for word in one.values() for key in word}
        shared = {key: run[key] for key in run if key not in self.axes and key not in bundled}
        return replace(self, fixed=shared | dict(self.fixed))

    def configs(self) -> Iterator[RunConfig]:
        """Every configuration of the experiment."""
        return (self.config(point) for point in self.points())
