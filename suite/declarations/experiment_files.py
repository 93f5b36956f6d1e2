"""A user's own experiment from a TOML or YAML file, and changes made on the command line.

A file holds what :class:`suite.declarations.experiments.Experiment` does::

    name = "my-sweep"
    base = "demo"            # optional: start from this experiment
    [fixed]
    epochs = 100
    [axes]
    optimizer = ["sgd", "adamw"]
    sigma_w = [0.1, 1.0, 2.5]
    seed = [0, 1, 2]
    [bundles.procedure.tuned]   # optional: settings that change together, under one name
    optimizer = "momentum"
    learning_rate = 0.1
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite.basics.settings import ConfigError, shown, unknown
from suite.basics.waiting import with_progress
from suite.declarations.config import RunConfig
from suite.declarations.experiment_text import read_tables
from suite.declarations.experiments import EXPERIMENTS, GROUPS, expand
from suite.declarations.factorial import Experiment

SUFFIXES = (".toml", ".yaml", ".yml")
TEXTS, TABLES = ("name", "description", "base"), ("fixed", "axes", "bundles")
LONGEST_NAME = 200  # bytes; folders and logs bear it with a few more, and no file more than 255
EARLIER = {"recipes": "bundles"}  # what a table was called before


def find(name: str) -> Experiment:
    """The experiment of that name, or in that file.

    Raises
    ------
    ConfigError
        If there is none, or the file is not a possible experiment.
    """
    return _from_file(Path(name)) if Path(name).suffix in SUFFIXES else _named(name)


def find_all(names: str) -> list[Experiment]:
    """The experiments of a text with commas, in which a group stands for its members.

    Raises
    ------
    ConfigError
        As `find`, or if no name is given.
    """
    # The name of a file may have commas.
    named = [names] if Path(names).suffix in SUFFIXES else expand(names)
    if not named:
        raise ConfigError("experiment: must be a name, got ''; --list shows all")
    return [find(name) for name in named]


def _named(name: str) -> Experiment:
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    files = [f"{name}{suffix}" for suffix in SUFFIXES if Path(f"{name}{suffix}").is_file()]
    known = (*EXPERIMENTS, *GROUPS)
    near = (difflib.get_close_matches(name, names, n=1) for names in (EXPERIMENTS, GROUPS))
    close = files[:1] or next(filter(None, near), [])
    hint = f"did you mean {close[0]}?" if close else "--list shows all"
    raise ConfigError(
        f"experiment: must be one of {', '.join(known)} or a .toml or .yaml file, "
        f"got {name!r}; {hint}"
    )


def _from_file(path: Path) -> Experiment:
    content = dict(read_tables(path))
    for earlier, part in EARLIER.items():
        if earlier in content and part in content:
            raise ConfigError(f"{path}: {earlier} must not stand beside {part}; move it to {part}")
        if earlier in content:
            content[part] = content.pop(earlier)
    _check_parts(content, path)
    return _assemble(content, path)


def _check_parts(content: Mapping[Any, Any], path: Path) -> None:
    def must(part: str, value: Any, kind: type, name: str) -> None:
        if not isinstance(value, kind):
            raise ConfigError(f"{path}: {part} must be {name}, got {shown(value)}")

    for part, value in content.items():
        if part in TEXTS:
            must(part, value, str, "text")
        elif part in TABLES:
            must(part, value, dict, "a table")
        else:
            raise ConfigError(f"{path}: {unknown(str(part), value, (*TEXTS, *TABLES))}")
    for setting in content.get("axes", {}):
        if setting in content.get("fixed", {}):
            raise ConfigError(
                f"{path}: {setting} must be an axis or fixed, got it in both; keep one of the two"
            )
    for axis, labels in content.get("bundles", {}).items():
        must(f"bundles.{axis}", labels, dict, "a table")
        if not labels:
            raise ConfigError(
                f"{path}: bundles.{axis} must have a label with settings, got none; "
                f"write [bundles.{axis}.LABEL]"
            )
        if axis in RunConfig.names():
            raise ConfigError(
                f"{path}: bundles.{axis} must not be called as a setting is; choose another name"
            )
        for label, settings in labels.items():
            must(f"bundles.{axis}.{label}", settings, dict, "a table")


def _assemble(content: Mapping[str, Any], path: Path) -> Experiment:
    base = _named(content["base"]) if "base" in content else None
    bundles = dict(base.bundles if base else {}) | {
        axis: {
            label: {key: RunConfig.value(key, value) for key, value in settings.items()}
            for label, settings in labels.items()
        }
        for axis, labels in content.get("bundles", {}).items()
    }
    experiment = Experiment(
        name=_name(content.get("name", path.stem), path),
        description=content.get("description", f"from {path.name}"),
        source=str(path),
        axes=dict(base.axes if base else {}),
        fixed=dict(base.fixed if base else {}),
        bundles=bundles,
    )
    for axis in content.get("bundles", {}):
        if axis not in experiment.axes:
            experiment = _with_axis(experiment, axis, list(bundles[axis]))
    for name, value in content.get("fixed", {}).items():
        experiment = changed(experiment, name, [value])
    for name, values in content.get("axes", {}).items():
        given = values if isinstance(values, list) else [values]
        experiment = changed(experiment, name, given, axis=True)
    if not experiment.axes:
        raise ConfigError(f"{path}: axes must name one setting or more, got none; add [axes]")
    return experiment


def _name(name: str, path: Path) -> str:
    """The name if MLflow and the folders that are called by it can bear it."""
    if name.strip() and name.isprintable() and len(name.encode()) <= LONGEST_NAME:
        return name
    raise ConfigError(
        f"{path}: name must be a line of 1 to {LONGEST_NAME} bytes, got {shown(name)}; "
        "give it another name"
    )


def changed(
    experiment: Experiment, name: str, given: Sequence[Any], *, axis: bool = False
) -> Experiment:
    """The experiment with one setting's values replaced.

    One value fixes the setting, unless it is an axis already, or is to be one; several make it
    an axis.

    Raises
    ------
    ConfigError
        If there is no such setting or bundle, or a value is impossible or there twice.
    """
    if not given and name in (*RunConfig.names(), *experiment.bundles):
        raise ConfigError(f"{name}: must have a value, got none; write {name}=VALUE,VALUE")
    if name in experiment.bundles:
        labels = tuple(experiment.bundles[name])
        for value in given:
            if value not in labels:
                raise ConfigError(
                    f"{name}: must be one of {', '.join(labels)}, got {shown(value)}; "
                    "--list shows all"
                )
        _check_once(name, given)
        return _with_axis(experiment, name, given)
    values = [RunConfig.value(name, value) for value in given or [None]]
    _check_once(name, values)
    in_bundle = any(
        name in settings for labels in experiment.bundles.values() for settings in labels.values()
    )
    # An axis comes after the bundles and so overrules them; a fixed setting would not.
    if axis or name in experiment.axes or len(values) > 1 or in_bundle:
        fixed = {key: value for key, value in experiment.fixed.items() if key != name}
        return _with_axis(replace(experiment, fixed=fixed), name, values)
    return replace(experiment, fixed=dict(experiment.fixed) | {name: values[0]})


def _check_once(name: str, values: Sequence[Any]) -> None:
    if len(set(values)) != len(values):
        raise ConfigError(f"{name}: must have each value once, got {', '.join(map(str, values))}")


def _with_axis(experiment: Experiment, name: str, values: Sequence[Any]) -> Experiment:
    return replace(experiment, axes=dict(experiment.axes) | {name: tuple(values)})


def apply(experiment: Experiment, changes: Sequence[str]) -> Experiment:
    """The experiment after ``--set NAME=VALUE,VALUE`` changes.

    Raises
    ------
    ConfigError
        If a change is impossible.
    """
    for change in changes:
        name, sign, values = change.partition("=")
        if not sign or not name.strip():
            raise ConfigError(
                f"set: must be NAME=VALUE,VALUE, got {change!r}; e.g. sigma_w=0.1,2.5"
            )
        given = [value.strip() for value in values.split(",") if value.strip()]
        experiment = changed(experiment, name.strip().replace("-", "_"), given)
    return experiment


def configurations(experiment: Experiment) -> list[tuple[dict[str, Any], RunConfig]]:
    """Every point of the experiment with its configuration, in the order of the axes.

    Raises
    ------
    ConfigError
        For the first point that is no possible configuration, or is there twice.
    """
    seen: dict[str, dict[str, Any]] = {}
    found = []
    for point in with_progress(
        experiment.points(), experiment.size, f"{experiment.name}: listing the runs"
    ):
        config = experiment.config(point)
        if config.fingerprint in seen:
            raise ConfigError(
                f"axes: must give a different run at every point, got the same run for "
                f"{seen[config.fingerprint]} and {point}; drop the axis that has no effect"
            )
        seen[config.fingerprint] = point
        found.append((point, config))
    return found
