"""Draw how an experiment remembers its initialization: ``python -m analysis.phase_diagram``.

The figures are logged to the same store, as a run of the experiment `analysis`; where that fails
the files are there all the same, one line says so, and the exit code stays 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.store.frames import Store, StoreError, load
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.settings import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.estimates.overview import Estimates

FLAGS = ("experiment", "tracking_uri", "out", "format", "no_log")


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m analysis.phase_diagram", description=__doc__, allow_abbrev=False)
    made.add_argument("--experiment", default="", help="MLflow experiment (default the newest)")
    made.add_argument(
        "--tracking-uri", default="", help="MLflow store (default $MLFLOW_TRACKING_URI, mlflow.db)"
    )
    made.add_argument("--out", default="figures", help="folder for the figures (default figures)")
    made.add_argument("--format", default="png", help="png, svg, pdf, or several with commas (png)")
    made.add_argument("--no-log", action="store_true", help="log nothing to MLflow")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 2 where there is nothing to draw from."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        formats = formats_of(arguments.format)
        store = load(arguments.experiment, arguments.tracking_uri)
        found, paths = _run(store, Path(arguments.out), formats)
        if not arguments.no_log:
            _log(store, found, arguments.tracking_uri, paths)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def formats_of(text: str) -> list[str]:
    """The file formats that a text such as 'png,svg' names, each once.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    from analysis.figures.style import FORMATS

    given = [word.strip().lower() for word in text.split(",")]
    for word in given:
        if word not in FORMATS:
            raise ConfigError(
                f"format: must be of {', '.join(FORMATS)}, got {word!r}; e.g. png,svg"
            )
    return list(dict.fromkeys(given))


def _run(store: Store, folder: Path, formats: Sequence[str]) -> tuple[Estimates, Sequence[Path]]:
    from analysis.estimates.overview import estimate
    from analysis.exhibits.phase_text import boundary_lines, cannot, collapse_lines, recipe_table

    print(f"experiment {store.experiment}: {len(store.runs)} finished runs")
    print(store.problems)
    found = estimate(store)
    print(f"\n{recipe_table(found)}")
    for lines in (boundary_lines(found), collapse_lines(found), cannot(found)):
        if lines:
            print("\n" + "\n".join(lines))
    print()
    paths = []
    for path in draw(found, store.experiment, folder, formats):
        print(f"wrote {path}")
        paths.append(path)
    return found, paths


def _log(store: Store, found: Estimates, tracking_uri: str, paths: Sequence[Path]) -> None:
    from analysis.report.findings import memory_metrics
    from analysis.tracked import logged

    logged(
        "phase_diagram",
        tracking_uri,
        experiments=[store.experiment],
        runs=len(store.runs),
        metrics=memory_metrics({store.experiment: found.recipes}),
        files={"figures": paths},
    )


def draw(found: Estimates, experiment: str, folder: Path, formats: Sequence[str]) -> Iterator[Path]:
    """Draw all figures that the estimates allow into a folder; the files.

    Raises
    ------
    ConfigError
        If the folder cannot be written.
    """
    from analysis.figures import style

    style.apply()
    stem = re.sub(r"[^\w.-]+", "-", experiment).strip("-")
    for name, figure in figures(found, experiment):
        try:
            yield from style.save(figure, folder, f"{stem}-{name}", formats)
        except OSError as error:
            raise ConfigError(
                f"out: must be a folder that can be written, got {folder} ({error.strerror}); "
                "name another"
            ) from None


def figures(found: Estimates, experiment: str) -> Iterator[tuple[str, Figure]]:
    """Name and figure, one after another, of all that the estimates allow."""
    from analysis.estimates.boundary import boundary_rates
    from analysis.figures.accuracy import accuracy_by_scale
    from analysis.figures.accuracy_map import accuracy_map
    from analysis.figures.collapse import collapse_pages
    from analysis.figures.memory_by_clock import memory_by_clock
    from analysis.figures.memory_plane import memory_plane

    by_scale = found.scales.rename(columns={"recipe": "label"})
    title = f"{experiment}: how much of σw survives training"
    yield "accuracy-by-sigma-w", accuracy_by_scale(by_scale, title)
    yield (
        "accuracy-map",
        accuracy_map(found.scales, f"{experiment}: test accuracy by recipe and σw"),
    )
    if not found.memory_known:
        return
    if found.plane_varies:
        rates = boundary_rates(found.recipes, found.boundaries)
        yield "memory-plane", memory_plane(found.recipes, rates, f"{experiment}: memory by recipe")
    title = f"{experiment}: memory against the forgetting clocks"
    yield "phase-diagram", memory_by_clock(found.recipes, found.boundaries, title)
    pages = collapse_pages(
        found.betas, found.collapses, f"{experiment}: sensitivity to σw during training"
    )
    for number, page in enumerate(pages, start=1):
        yield "collapse" if len(pages) == 1 else f"collapse-{number}", page


if __name__ == "__main__":
    sys.exit(main())
