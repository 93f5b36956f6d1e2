"""The report's files: figures in the formats wanted, tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from suite.basics.settings import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES, TABLES = "figures", "tables"


@dataclass
class ReportFolder:
    """Where a report is written, and what was written there.

    Attributes
    ----------
    formats
        Of the figures, from `analysis.figures.style.FORMATS`.
    files
        Folder below `path`, "" for itself, to its files in the order in which they were written.
    """

    path: Path
    formats: Sequence[str]
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

    def figure(self, stem: str, figure: Figure) -> None:
        """Write a figure in each format."""
        from analysis.figures import style

        layout = figure.get_layout_engine()
        if layout is not None:  # laid out once, not for each format: that is half of the time
            layout.execute(figure)
            figure.set_layout_engine("none")
        with self._writing():
            folder = self.path / FIGURES
            self.files.setdefault(FIGURES, []).extend(
                style.save(figure, folder, stem, self.formats)
            )

    def texts(self, stem: str, texts: Mapping[str, str]) -> None:
        """Write the texts of a table; format to text."""
        for suffix, text in texts.items():
            self.text(TABLES, f"{stem}.{suffix}", text)

    def text(self, folder: str, name: str, text: str) -> Path:
        """Write one file into a folder of the report; its path."""
        path = self.path / folder / name
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.files.setdefault(folder, []).append(path)
        return path

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unwritable(self.path, str(error.strerror)) from None


def file_stem(text: str) -> str:
    """A name such as an experiment's as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


def _unwritable(folder: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"out: must be a folder that can be written, got {folder} ({reason}); name another"
    )
