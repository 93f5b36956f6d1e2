"""Writes what is derived from the declared settings: ``python -m suite.generated_files``.

These are the MLproject file and the settings page of the documentation. A test compares both with
what this gives, so that they never drift apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.basics.cli import flag
from suite.basics.files import write_text
from suite.declarations.config import RunConfig
from suite.declarations.experiments import PRESETS
from suite.declarations.machine import Machine
from suite.declarations.metrics import EPOCH_METRICS, SUMMARY_METRICS
from suite.executors.placement import Placement

ROOT = Path(__file__).parent.parent
PATH = ROOT / "MLproject"
SETTINGS_PATH = ROOT / "docs" / "SETTINGS.md"
FILLED_IN_BY_ITSELF = ("dataset_digest",)
# Commands that read the store, by entry point: their parameters with defaults. The store is the one
# in which `mlflow run` began its run, so it is no parameter.
ANALYSES: Mapping[str, Mapping[str, str]] = {
    "phase_diagram": {"experiment": "", "out": "figures", "format": "png"},
    "report": {"experiment": "", "out": "report", "format": "png,svg,pdf"},
    "claims": {"experiment": "", "out": ""},
}


def text() -> str:
    """The content of the MLproject file."""
    lines = [
        "# Written by `python -m suite.generated_files` from the settings in suite/declarations.",
        "name: initialization-memory",
        "",
        "conda_env: conda.yaml",
        "",
        "entry_points:",
    ]
    for entry, preset in (("main", "demo"), ("paper", "paper")):
        lines += _training(entry, preset)
    for entry, defaults in ANALYSES.items():
        lines += _entry(
            entry,
            {name: ("string", value) for name, value in defaults.items()},
            f"python -m analysis.{entry}",
        )
    return "\n".join(lines) + "\n"


def _training(entry: str, preset: str) -> list[str]:
    return _entry(entry, _defaults(PRESETS[preset]), f"python -m suite.train --preset {preset}")


def _entry(entry: str, defaults: Mapping[str, tuple[str, Any]], command: str) -> list[str]:
    lines = [f"  {entry}:", "    parameters:"]
    lines += [
        f"      {name}: {{type: {kind}, default: {json.dumps(value)}}}"
        for name, (kind, value) in defaults.items()
    ]
    lines += ["    command: >-", f"      {command}"]
    lines += [f"      {flag(name)} {{{name}}}" for name in defaults]
    return [*lines, ""]


def _defaults(preset: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Parameter name to MLproject type and default."""
    found = {}
    for settings in (RunConfig, Machine):
        for name in settings.names():
            if name not in FILLED_IN_BY_ITSELF:
                value = preset.get(name, settings.default(name))
                found[name] = ("string" if isinstance(value, str) else "float", value)
    return found


def settings_page() -> str:
    """The settings page of the documentation."""
    lines = [
        "# Settings",
        "",
        "Written by `python -m suite.generated_files` from `suite/declarations/` and",
        "`suite/executors/placement.py`. A setting that does not act (see *only with*) is no",
        "part of a run's identity; those of the machine and of where to train never are.",
    ]
    for title, settings in (
        ("A run", RunConfig),
        ("The machine", Machine),
        ("Where a sweep trains", Placement),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| setting | meaning | unit | range | default | only with |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        for name in settings.names():
            about = settings.about(name)
            only = "; ".join(f"{k} {' or '.join(v)}" for k, v in about.only_with.items())
            default = settings.default(name)
            cells = [
                f"`{name}`",
                about.help,
                about.unit,
                settings.range(name).replace(" | ", ", "),
                f"`{default}`" if default != "" else "",
                only,
            ]
            lines.append("| " + " | ".join(cells) + " |")
    for title, metrics in (
        ("Metrics by epoch", EPOCH_METRICS),
        ("Summary metrics", SUMMARY_METRICS),
    ):
        lines += ["", f"## {title}", "", "| metric | unit | definition |", "|---|---|---|"]
        lines += [f"| `{m.name}` | {m.unit} | {m.definition} |" for m in metrics]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(PATH, text())
    write_text(SETTINGS_PATH, settings_page())
