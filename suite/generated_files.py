"""Writes what is derived from the declared settings: ``python -m suite.generated_files``.

These are the MLproject file and the settings page of the documentation. ``--check`` compares them
with the declarations and writes nothing; `make lint` and a test do that, so that they never drift
apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.basics.cli import BAD_INPUT, Parser, complain, flag, parse_known
from suite.basics.files import write_text
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig
from suite.declarations.experiments import PRESETS
from suite.declarations.machine import Machine
from suite.declarations.metrics import EPOCH_METRICS, SUMMARY_METRICS
from suite.executors.placement import Placement

ROOT = Path(__file__).parent.parent
PATH = ROOT / "MLproject"
SETTINGS_PATH = ROOT / "docs" / "SETTINGS.md"
MODULE = "suite.generated_files"
DIFFERS = 1
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
        "part of a run's identity; those of the machine and of where to train never are: they",
        "change a run's numbers by rounding at most, as another device or number of threads does.",
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


# Each generated file, and what gives its content.
FILES: Mapping[Path, Callable[[], str]] = {PATH: text, SETTINGS_PATH: settings_page}


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog=f"python -m {MODULE}",
        description="Write MLproject and docs/SETTINGS.md from the declared settings.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    made.add_argument(
        "--check",
        action="store_true",
        help="write nothing; name the files that differ from what would be written, and exit 1 if "
        "there are any",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 a file differs, 2 impossible input."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, ("check",))
    except ConfigError as error:
        complain(error)
        return BAD_INPUT
    if "check" in arguments:
        return _check()
    for path, content in FILES.items():
        write_text(path, content())
    return 0


def _check() -> int:
    stale = [
        path
        for path, content in FILES.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content()
    ]
    for path in stale:
        line = f"{path.relative_to(ROOT)} differs from the declarations; run python -m {MODULE}"
        print(line, file=sys.stderr)
    return DIFFERS if stale else 0


if __name__ == "__main__":
    sys.exit(main())
