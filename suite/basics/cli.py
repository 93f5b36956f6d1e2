"""What the commands share: flags from declared settings, and one-line errors."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from suite.basics.addresses import without_password
from suite.basics.settings import ConfigError, Settings, unknown
from suite.basics.streams import outlast_readers

BAD_INPUT = 2
INTERRUPTED = 130
NEGATIVE = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with a remedy."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.removeprefix('argument ')}; --help lists all settings")


def flag(name: str) -> str:
    """The flag of a setting: batch_size is --batch-size."""
    return "--" + name.replace("_", "-")


def add_settings(
    parser: argparse.ArgumentParser,
    settings: type[Settings],
    title: str,
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """A flag for each setting, with its meaning, unit, range and default.

    Values arrive as text; the settings' own rules judge them.
    """
    group = parser.add_argument_group(title)
    for name in settings.names():
        about = settings.about(name)
        default = (defaults or {}).get(name, settings.default(name))
        facts = [about.unit, settings.range(name), f"default {default}" if default != "" else ""]
        for other, values in about.only_with.items():
            facts.append(f"only with {other}={'|'.join(values)}")
        group.add_argument(
            flag(name),
            dest=name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{about.help} ({'; '.join(fact for fact in facts if fact)})".replace("%", "%%"),
        )


def parse_known(parser: Parser, argv: Sequence[str], known: Sequence[str]) -> argparse.Namespace:
    """The parsed command line, with which every command begins.

    Raises
    ------
    ConfigError
        With one line for each flag that does not exist, and the nearest one that does.
    """
    outlast_readers()
    arguments, rest = parser.parse_known_args(_plain(argv))
    if rest:
        lines = []
        for index, word in enumerate(rest):
            if word.startswith("--"):
                name, _, value = word[2:].partition("=")
                if not value and index + 1 < len(rest) and not rest[index + 1].startswith("--"):
                    value = rest[index + 1]
                lines.append(unknown(name.replace("-", "_"), value, tuple(known)))
        raise ConfigError(*(lines or [f"{rest[0]}: is no flag; --help lists all settings"]))
    return arguments


def _plain(argv: Sequence[str]) -> list[str]:
    """The words as argparse takes them: --sigma_w is --sigma-w, and -1e-3 is a value, no flag."""
    words: list[str] = []
    for word in argv:
        if word.startswith("--"):
            name, sign, value = word.partition("=")
            words.append(name.replace("_", "-") + sign + value)
        elif NEGATIVE.match(word) and words and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def chosen(arguments: argparse.Namespace, settings: type[Settings]) -> dict[str, str]:
    """The settings that the command line names."""
    given = vars(arguments)
    return {name: given[name] for name in settings.names() if name in given}


def complain(error: Exception) -> None:
    """Print an error's lines, without the passwords of addresses, and nothing else."""
    for line in without_password(str(error)).splitlines():
        print(f"error: {line}", file=sys.stderr)
