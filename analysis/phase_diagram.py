"""Draw how an experiment remembers its initialization: ``python -m analysis.phase_diagram``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.store import Store, StoreError, load

BAD_INPUT = 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m analysis.phase_diagram", description=__doc__)
    made.add_argument("--experiment", default="", help="MLflow experiment (default the newest)")
    made.add_argument(
        "--tracking-uri", default="", help="MLflow store (default $MLFLOW_TRACKING_URI, mlflow.db)"
    )
    made.add_argument("--out", default="figures", help="folder for the figures (default figures)")
    made.add_argument("--format", default="png", help="png, svg, pdf, or several with commas (png)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    from analysis.style import FORMATS

    arguments = parser().parse_args(argv)
    formats = arguments.format.split(",")
    for given in formats:
        if given not in FORMATS:
            return _refuse(f"format: must be one of {', '.join(FORMATS)}, got {given!r}; e.g. png")
    try:
        store = load(arguments.experiment, arguments.tracking_uri)
    except StoreError as error:
        return _refuse(str(error))
    print(f"experiment {store.experiment}: {len(store.runs)} finished runs")
    if text := str(store.problems).strip():
        print(text)
    for path in draw(store, Path(arguments.out), formats):
        print(f"wrote {path}")
    return 0


def draw(store: Store, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw the figures of a store into a folder; the files."""
    from analysis import style
    from analysis.figures import accuracy_by_scale

    style.apply()
    figure = accuracy_by_scale(
        accuracy_table(store), f"{store.experiment}: how much of σw survives training"
    )
    return style.save(figure, folder, f"{store.experiment}-accuracy-by-sigma-w", formats)


def accuracy_table(store: Store) -> pd.DataFrame:
    """Test accuracy by recipe and σw, with the recipe's memory; see `accuracy_by_scale`."""
    from analysis.cells import find_cells
    from analysis.memory import memory
    from analysis.scale_table import by_scale

    cells = find_cells(store.runs)
    about = pd.DataFrame(
        {
            "cell": [cell.label for cell in cells],
            "optimizer": [cell.config.optimizer for cell in cells],
            "batch_size": [cell.config.batch_size for cell in cells],
        }
    )
    spreads = memory(store.runs, cells=cells)[["cell", "memory"]]
    table = by_scale(store.runs, store.history, cells=cells)
    table = table[table["quantity"] == "test_accuracy"]
    merged = table.merge(about, on="cell").merge(spreads, on="cell")
    return merged.rename(columns={"cell": "label"})


def _refuse(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
