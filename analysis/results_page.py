"""Redraw what docs/RESULTS.md and README.md show of the runs in results/.

The pages are written by hand. They name what they show, pictures by their links and tables by a
comment above and one below:

    <!-- table: memory-mini-main | optimizer, b, spread (pp) [95 %] -->
    <!-- end -->

That is the report's table of this name. Behind the first bar stand the columns to show, behind the
second the column in which a row has to have a value.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from analysis.chosen_experiments import choose, newest
from analysis.output import OutputFolder, file_stem
from analysis.phase_diagram import draw_together
from analysis.report import command as report
from analysis.store.frames import StoreError
from analysis.tables import ABSENT
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.files import write_text
from suite.basics.settings import ConfigError

ROOT = Path(__file__).parent.parent
EXPORTS = ROOT / "results"
PAGES = (ROOT / "docs" / "RESULTS.md", ROOT / "README.md")
PICTURES = ROOT / "docs" / "images" / "results"
EXPERIMENTS = "*"  # drawn each
TOGETHER = "mini-main,mini-lr-l2,mini-long"  # on one plane, as they share network and data
NAMED = "three miniatures of one network"
LINK = re.compile(r"images/results/([\w.-]+\.png)")
TABLE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
BETWEEN_CELLS = re.compile(r"(?<!\\) \| ")  # a bar within a cell is escaped
CLAIMS = "claims"
DIFFERS = 1


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.results_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a table differs"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 a table differs, 2 a page names what is not."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, ("check",))
        with TemporaryDirectory() as scratch:
            made = Path(scratch)
            pages = {path: path.read_text(encoding="utf-8") for path in PAGES}
            redraw(made, list(pages.values()))
            written = {path: with_tables(text, made) for path, text in pages.items()}
            pictures = [picture for text in pages.values() for picture in pictures_of(text, made)]
            if arguments.check:
                return _check(pages, written)
            for path, text in written.items():
                write_text(path, text)
            PICTURES.mkdir(parents=True, exist_ok=True)
            for picture in pictures:
                shutil.copyfile(picture, PICTURES / picture.name)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def redraw(folder: Path, texts: Sequence[str], exports: Path = EXPORTS) -> None:
    """Write the tables and pictures which pages name, made of exported runs, into a folder.

    Parameters
    ----------
    texts
        The pages. What they name and the runs do not have is not there afterwards.

    Raises
    ------
    StoreError
        If the exports cannot be read.
    """
    from analysis.claims.command import judge
    from analysis.claims.text import markdown
    from analysis.exhibits.catalogue import exhibits
    from analysis.figures import style
    from analysis.tables import markdown as table_text

    style.apply()
    pictures = {name for text in texts for name in LINK.findall(text)}
    tables = {_name(wanted) for text in texts for _, wanted, _ in TABLE.findall(text)}
    chosen, out = choose(EXPERIMENTS, str(exports), newest), OutputFolder(folder, ("png",))
    for exhibit in exhibits(chosen.stores):
        stem = report.stem_of(exhibit)
        if exhibit.figure is not None and f"{stem}.png" in pictures:
            out.figure(stem, exhibit.figure, report.FIGURES)
        if exhibit.table is not None and stem in tables:
            out.texts(stem, {"md": table_text(exhibit.table)}, report.TABLES)
    if CLAIMS in tables:
        out.texts(CLAIMS, {"md": markdown(judge(chosen.stores))}, report.TABLES)
    if any(picture.startswith(file_stem(NAMED)) for picture in pictures):
        together = choose(TOGETHER, str(exports), newest)
        with redirect_stdout(io.StringIO()):  # its lines are about files that go again
            draw_together(
                list(together.stores.values()),
                NAMED,
                OutputFolder(folder / report.FIGURES, ("png",)),
            )


def with_tables(page: str, made: Path) -> str:
    """A page's text, with its tables as they are in the report that was made in a folder.

    Raises
    ------
    ConfigError
        If the report has no such table, or the table no such column.
    """
    return TABLE.sub(lambda found: found[1] + _table(found[2], made) + found[3], page)


def pictures_of(page: str, made: Path) -> list[Path]:
    """The files of the pictures that a page's text shows, in a folder with the report.

    Raises
    ------
    ConfigError
        If the report has no such picture.
    """
    found = [made / report.FIGURES / name for name in LINK.findall(page)]
    for path in found:
        if not path.is_file():
            raise ConfigError(
                f"picture: must be one of the report's, got {path.name}; python -m analysis.report "
                f"--tracking-uri {EXPORTS.name} draws all of them"
            )
    return found


def _name(wanted: str) -> str:
    return wanted.split(" | ")[0].strip()


def _table(wanted: str, made: Path) -> str:
    """What stands between two comments: the table, or those of its rows and columns wanted."""
    name = _name(wanted)
    _, columns, needed, *_ = (*(part.strip() for part in wanted.split(" | ")), "", "")
    path = made / report.TABLES / f"{name}.md"
    if not path.is_file():
        raise ConfigError(
            f"table: must be one of the report's, got {name!r}; python -m analysis.report "
            f"--tracking-uri {EXPORTS.name} writes all of them"
        )
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    headings, rule, *rows = ([*BETWEEN_CELLS.split(line[2:-2])] for line in lines)
    chosen = [part.strip() for part in columns.split(", ")] if columns else headings
    for column in (*chosen, *filter(None, [needed])):
        if column not in headings:
            raise ConfigError(
                f"table: must have columns of {name}, {'; '.join(headings)}, got {column!r}"
            )
    places = [headings.index(column) for column in chosen]
    if needed:
        rows = [row for row in rows if row[headings.index(needed)] != ABSENT]
    shown = [[row[place] for place in places] for row in (headings, rule, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in shown)


def _check(pages: Mapping[Path, str], written: Mapping[Path, str]) -> int:
    stale = [path for path, text in written.items() if text != pages[path]]
    for path in stale:
        print(
            f"{path.relative_to(ROOT)} differs from the runs; run {parser().prog}", file=sys.stderr
        )
    return DIFFERS if stale else 0


if __name__ == "__main__":
    sys.exit(main())
