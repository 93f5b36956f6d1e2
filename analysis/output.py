"""The folder into which an analysis writes its figures, tables and texts.

It is checked before any work starts, and whatever keeps it from being written is one line.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from suite.basics.errors import first_line
from suite.basics.files import written_whole
from suite.basics.settings import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Figures are files. A notebook leaves its own backend to the commands that it starts; one that is
# not installed there would end the import of matplotlib, and be asked for nothing.
os.environ["MPLBACKEND"] = "agg"

FORMATS = ("png", "svg", "pdf")
DOTS_PER_INCH = 160
# The same file: none says when it was made, and the ids in an SVG come from a salt.
METADATA: Mapping[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
# Or matplotlib would give a figure that has no engine for its layout one again when it is saved.
WITHOUT_LAYOUT: dict[Any, Any] = {"figure.constrained_layout.use": False}
WHILE_SAVING = WITHOUT_LAYOUT | {"svg.hashsalt": "analysis"}


def add_output_options(parser: ArgumentParser, out: str, formats: str) -> None:
    """The flags by which a command that draws is told what to write, and their defaults."""
    parser.add_argument("--out", default=out, help=f"folder for all files (default {out})")
    parser.add_argument(
        "--format",
        default=formats,
        help=f"of the figures: {', '.join(FORMATS)}, or several with commas (default {formats})",
    )
    parser.add_argument("--no-log", action="store_true", help="log nothing to MLflow")


@dataclass
class OutputFolder:
    """Where an analysis writes, and what it wrote there.

    Attributes
    ----------
    path
        The folder; it is made when the first file is written.
    formats
        Of the figures, from `FORMATS`.
    files
        Folder below `path`, "" for itself, to its files in the order in which they were written.
    """

    path: Path
    formats: Sequence[str] = ()
    files: dict[str, list[Path]] = field(default_factory=dict)

    def check(self) -> None:
        """Make sure that it can be written, without making it.

        Raises
        ------
        ConfigError
            If it cannot.
        """
        nearest = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
            raise _unwritable(self.path, f"{nearest} is no folder that can be written")

    def figure(self, stem: str, figure: Figure, below: str = "") -> list[Path]:
        """Write a figure in each format, into a folder below this one; the files.

        Raises
        ------
        ConfigError
            If they cannot be written.
        """
        if len(self.formats) > 1:
            _lay_out(figure)
        paths = []
        for suffix in self.formats:
            path = self.path / below / f"{stem}.{suffix}"
            with self._writing(path):
                save(figure, path, suffix)
            paths.append(path)
        self.files.setdefault(below, []).extend(paths)
        return paths

    def text(self, name: str, text: str, below: str = "") -> Path:
        """Write a file of text, into a folder below this one; its path.

        Raises
        ------
        ConfigError
            If it cannot be written.
        """
        path = self.path / below / name
        with self._writing(path):
            path.write_text(text, encoding="utf-8")
        self.files.setdefault(below, []).append(path)
        return path

    def texts(self, stem: str, texts: Mapping[str, str], below: str = "") -> list[Path]:
        """Write one text in several formats (ending of the file to text); the files."""
        return [self.text(f"{stem}.{suffix}", text, below) for suffix, text in texts.items()]

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A folder below this one that is written whole or not at all; where to write its files.

        One that is there is exchanged.

        Raises
        ------
        ConfigError
            If it cannot be written.
        """
        path = self.path / name
        with self._writing(path), written_whole(path) as scratch:
            scratch.mkdir()
            yield scratch
        self.files.setdefault(name, []).extend(sorted(path.iterdir()))

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise _unwritable(self.path, error.strerror or first_line(error)) from None


def save(figure: Figure, target: Path | BinaryIO, suffix: str) -> None:
    """Write a figure in a format: the same figure, the same file."""
    import matplotlib as mpl

    with mpl.rc_context(WHILE_SAVING):
        figure.savefig(target, format=suffix, dpi=DOTS_PER_INCH, metadata=METADATA.get(suffix))


def _lay_out(figure: Figure) -> None:
    """Lay a figure out for good, and not anew for each format.

    With no engine left matplotlib does not draw it an additional time either, only to measure it;
    with engine "none" a placeholder stays, and it does.
    """
    import matplotlib as mpl

    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        with mpl.rc_context(WITHOUT_LAYOUT):
            figure.set_layout_engine(None)


def formats_of(text: str) -> list[str]:
    """The formats of figures that a text such as 'png,svg' names, each once.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    given = [word.strip().lower() for word in text.split(",")]
    for word in given:
        if word not in FORMATS:
            raise ConfigError(
                f"format: must be of {', '.join(FORMATS)}, got {word!r}; e.g. png,svg"
            )
    return list(dict.fromkeys(given))


def file_stem(text: str) -> str:
    """A name such as an experiment's as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


def _unwritable(folder: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"out: must be a folder that can be written, got {folder} ({reason}); name another"
    )
