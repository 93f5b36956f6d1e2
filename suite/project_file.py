"""Writes the MLproject file from the declared settings: ``python -m suite.project_file``.

A test compares the file with what this gives, so that the two never drift apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.cli import flag
from suite.config import RunConfig
from suite.experiments import PRESETS
from suite.machine import Machine

PATH = Path(__file__).parent.parent / "MLproject"
FILLED_IN_BY_ITSELF = ("dataset_digest",)


def text() -> str:
    """The content of the MLproject file."""
    lines = [
        "# Written by `python -m suite.project_file`: change the settings in suite/config.py.",
        "name: initialization-memory",
        "",
        "conda_env: conda.yaml",
        "",
        "entry_points:",
    ]
    for entry, preset in (("main", "demo"), ("paper", "paper")):
        lines += _training(entry, preset)
    return "\n".join(lines) + "\n"


def _training(entry: str, preset: str) -> list[str]:
    defaults = _defaults(PRESETS[preset])
    lines = [f"  {entry}:", "    parameters:"]
    lines += [
        f"      {name}: {{type: {kind}, default: {json.dumps(value)}}}"
        for name, (kind, value) in defaults.items()
    ]
    lines += ["    command: >-", f"      python -m suite.train --preset {preset}"]
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


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
