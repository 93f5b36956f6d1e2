"""The text of an experiment file as tables, in which nothing is guessed and nothing is lost.

YAML 1.1 takes ``no`` for a truth value, ``010`` for 8 and ``1:30`` for 90, and of a key that stands
there twice the last one wins. Here a YAML scalar is the text that was written, which the settings
read by their own rules as they read a flag's; and a key stands in its table once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from suite.basics.settings import ConfigError, shown

MERGE = "tag:yaml.org,2002:merge"  # the key <<, which takes over another table


def read_tables(path: Path) -> Mapping[str, Any]:
    """The content of a TOML or YAML file, as its ending says.

    Raises
    ------
    ConfigError
        If it cannot be read, or is no table of one of these languages.
    """
    if path.exists() and not path.is_file():  # a pipe of that name would never end
        raise ConfigError(f"experiment: must be a file, got {path}; name a .toml or .yaml file")
    read: Callable[[str], Any] = tomllib.loads if path.suffix == ".toml" else _read_yaml
    try:
        content = read(path.read_text(encoding="utf-8-sig"))  # some editors begin with a mark
    except OSError as error:
        raise ConfigError(
            f"experiment: file must be readable, got {path} ({error.strerror})"
        ) from None
    except RecursionError:
        raise ConfigError(
            f"experiment: {path} must be valid {path.suffix[1:]}; it is nested too deeply"
        ) from None
    except (ValueError, yaml.YAMLError) as error:  # tomllib's own, broken text, endless numbers
        reason = " ".join(str(error).split())
        raise ConfigError(f"experiment: {path} must be valid {path.suffix[1:]}; {reason}") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"experiment: {path} must hold axes and fixed settings, got {shown(content)}"
        )
    return content


def _read_yaml(text: str) -> Any:
    return yaml.load(text, _TextLoader)


class _TextLoader(yaml.SafeLoader):
    """Makes lists, tables whose keys differ, and texts; any other tag is refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own place for it)
        letter: [(tag, rule) for tag, rule in rules if tag == MERGE]
        for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: maker
        for tag, maker in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("str", "seq", "map")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:  # as it is written: what << takes over may be said anew
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key must be a text", key)
            if key.value in seen:
                raise _refused(f"{key.value} must stand in its table once, got it again", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(rule: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, rule, node.start_mark)
