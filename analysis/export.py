"""Write an experiment's runs into files that travel: ``python -m analysis.export``.

Each experiment becomes a folder of Parquet files: its runs, their histories and, where they were
kept, their predictions. In them stands where they come from. Every analysis command reads the
folder above in place of a store: ``python -m analysis.phase_diagram --tracking-uri DIR``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.filesize import decimal

from analysis.chosen_experiments import add_store_options, choose_contents, newest
from analysis.output import OutputFolder
from analysis.store.contents import Contents
from analysis.store.exported_experiment import exports_in, may_be_exchanged
from analysis.store.exported_files import folder_name, write_export
from analysis.store.frames import StoreError
from analysis.store.thinning import Thinning
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.settings import ConfigError

FLAGS = ("experiment", "tracking_uri", "out", "thin", "without_layers")
OUT = "exported"


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m analysis.export", description=__doc__, allow_abbrev=False)
    add_store_options(made, "the newest")
    made.add_argument(
        "--out",
        default=OUT,
        help=f"folder in which each experiment gets a folder; one that is there is exchanged "
        f"(default {OUT})",
    )
    made.add_argument(
        "--thin",
        action="store_true",
        help="leave of the histories what the analysis needs: its numbers stay the same",
    )
    made.add_argument(
        "--without-layers",
        action="store_true",
        help="leave out what became of each layer, which is often the most of it",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 2 where there is nothing to export, or no room for it."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        out = OutputFolder(Path(arguments.out))
        check(out)
        thinning = Thinning() if arguments.thin else None
        for found in choose_contents(arguments.experiment, arguments.tracking_uri, newest):
            write(found, out, thinning, layers=not arguments.without_layers)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def check(out: OutputFolder) -> None:
    """Make sure that the folder can be written, and holds exported runs if it holds anything.

    Raises
    ------
    ConfigError
        If not.
    """
    out.check()
    there = sorted(out.path.iterdir()) if out.path.is_dir() else []
    exported = exports_in(out.path)
    if exported == [out.path]:
        raise ConfigError(
            f"out: must be a folder of exported experiments, got {out.path}, which is one of them; "
            f"give {out.path.parent}"
        )
    foreign = [path for path in there if not path.name.startswith(".")]
    if foreign and not exported:
        raise ConfigError(
            f"out: must be empty or hold exported experiments, got {out.path}, which holds "
            f"{foreign[0].name}; name another folder"
        )


def write(
    found: Contents, out: OutputFolder, thinning: Thinning | None, *, layers: bool = True
) -> None:
    """Write an experiment's folder, and say what it holds.

    Parameters
    ----------
    thinning, layers
        See :func:`analysis.store.exported_files.write_export`.

    Raises
    ------
    ConfigError
        If its place holds something else, or cannot be written.
    """
    name = folder_name(found.experiment)
    place = out.path / name
    if place.exists() and not may_be_exchanged(place):
        raise ConfigError(
            f"out: must have room for the folder {name}, got {out.path}, where it is something "
            "else; name another folder"
        )
    with out.folder(name) as scratch:
        about = write_export(scratch, found, thinning, layers=layers)
    size = sum(file.stat().st_size for file in place.iterdir())
    print(f"wrote {place}: {about['runs']:,} runs, {about['rows']:,} epochs, {decimal(size)}")
    left_out = [f"{number} {reason}" for reason, number in about["left_out"].items() if number]
    if left_out:
        print(f"runs left out: {', '.join(left_out)}")
    if thinning is not None:
        print(thinning)


if __name__ == "__main__":
    sys.exit(main())
