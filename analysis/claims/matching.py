"""Which recipe of an experiment a run's is, where other settings were changed besides the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from analysis.claims.differences import acting, changes
from suite.declarations.config import PERTURBED, RunConfig
from suite.declarations.factorial import Experiment


def found_changes(experiment: Experiment, configs: Sequence[RunConfig]) -> list[dict[str, Any]]:
    """Each set of changes with which recipes of the experiment were trained, once.

    Parameters
    ----------
    configs
        One of each recipe that was trained under the experiment's name.

    Returns
    -------
    list of dict
        Setting to value, such as ``{'epochs': 20, 'width': 8}``; the empty one is the experiment
        as it is declared.
    """
    declared = _points(experiment)
    found: list[dict[str, Any]] = []
    for config in configs:
        made = _changes(experiment, declared, config)
        if made is not None and made not in found:
            found.append(made)
    return found


def _points(experiment: Experiment) -> list[tuple[Mapping[str, Any], RunConfig]]:
    axes = {name: values for name, values in experiment.axes.items() if name not in PERTURBED}
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [(point, experiment.config(point)) for point in points]


def _changes(
    experiment: Experiment,
    declared: Sequence[tuple[Mapping[str, Any], RunConfig]],
    config: RunConfig,
) -> dict[str, Any] | None:
    """What makes one of the experiment's recipes this one; None where it cannot be told which.

    A recipe has the values of all axes. Of a bundle, whose settings may have been changed too, it
    has all words, such as the optimizer or the model, and most numbers.
    """
    values = acting(config)
    made = [
        changes(own, config)
        for point, own in declared
        if all(values.get(name) == value for name, value in _required(experiment, point).items())
    ]
    made.sort(key=len)
    if not made or (len(made) > 1 and len(made[0]) == len(made[1])):
        return None
    return made[0]


def _required(experiment: Experiment, point: Mapping[str, Any]) -> dict[str, Any]:
    required: dict[str, Any] = {}
    for axis, value in point.items():
        if axis in experiment.bundles:
            settings = experiment.bundles[axis][value].items()
            required |= {name: one for name, one in settings if isinstance(one, str)}
        else:
            required[axis] = value
    return required
