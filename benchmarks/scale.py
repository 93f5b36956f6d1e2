"""How the costs of a sweep's bookkeeping grow with the number of its runs.

    python -m benchmarks.scale                      # 625 to 62,500 points: minutes, 1 GB below /tmp
    python -m benchmarks.scale --points 625000      # over an hour and 21 GB
    python -m benchmarks.scale --postgresql postgresql://localhost/scale

Each number is measured in a fresh process on a store in which every point is FINISHED (params,
tags and summary metrics, no histories). Seconds are processor time, all on one core, which is what
an idle machine takes; nothing here waits for anything but its disk. The exponent is the slope of
log(seconds) on log(points) over the two largest sizes: 1 is in proportion, 0 does not depend on
the number of points.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import scale_tasks
from benchmarks.scale_store import NAME, POINTS_PER_SEED, fill, grid

POINTS = (625, 6_250, 62_500)
Table = dict[str, dict[int, tuple[float, float]]]  # task to points to seconds, megabytes


def experiment_file(points: int, folder: Path) -> Path:
    """The experiment as a person would write it."""
    seeds = list(grid(points).axes["seed"])
    file = folder / f"{NAME}.toml"
    file.write_text(f'name = "{NAME}"\nbase = "main"\n[axes]\nseed = {seeds}\n', encoding="utf-8")
    return file


def measure(points: int, folder: Path, uri: str, repeats: int) -> dict[str, tuple[float, float]]:
    """Task to seconds (the best of the repeats) and peak megabytes."""
    storage = f"sqlite:///{folder / 'optuna.db'}"
    experiment_file(points, folder)
    if not (folder / "optuna.db").exists():
        fill(uri, storage, grid(points))
    found = {}
    for name in scale_tasks.TASKS:
        tries = [in_fresh_process(name, folder, uri, storage) for _ in range(repeats)]
        found[name] = min(tries)
        print(f"{points:>9,}  {name:<44} {_seconds(found[name][0]):>9}", flush=True)
    return found


def in_fresh_process(name: str, folder: Path, uri: str, storage: str) -> tuple[float, float]:
    """Seconds and peak megabytes of one task."""
    program = (
        "from benchmarks import scale_tasks; "
        f"scale_tasks.run({name!r}, {str(folder)!r}, {uri!r}, {storage!r})"
    )
    environment = os.environ | {"SUITE_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, env=environment, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def exponent(by_points: Mapping[int, tuple[float, float]]) -> float:
    """Slope of log(seconds) on log(points) over the two largest sizes; NaN if there is one."""
    if len(by_points) < 2:
        return math.nan
    (n, (t, _)), (more, (longer, _)) = sorted(by_points.items())[-2:]
    return math.log(longer / t) / math.log(more / n)


def markdown(table: Table) -> str:
    """The table of all tasks, as documentation has it."""
    sizes = sorted({size for row in table.values() for size in row})
    lines = [
        f"| | {' | '.join(f'{size:,}' for size in sizes)} | exponent | memory at {sizes[-1]:,} |",
        f"|---|{'---:|' * (len(sizes) + 2)}",
    ]
    for name, row in table.items():
        cells = [_seconds(row[size][0]) if size in row else "" for size in sizes]
        grown, most = exponent(row), row[max(row)][1]
        slope = "" if math.isnan(grown) else f"{grown:.2f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {slope} | {most:,.0f} MB |")
    return "\n".join(lines)


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def draw(table: Table, path: Path) -> None:
    """Seconds against points, both logarithmic."""
    from matplotlib.figure import Figure

    from analysis.figures import style

    style.apply()
    figure = Figure(figsize=(9.5, 5.0))
    axes = figure.add_subplot()
    sizes = sorted({size for row in table.values() for size in row})
    looks = list(style.OPTIMIZERS.values())
    for place, (name, row) in enumerate(table.items()):
        colour = looks[place % len(looks)].colour
        marker = looks[place % len(looks)].marker
        measured = sorted(row)
        seconds = [row[size][0] for size in measured]
        line = "-" if place < 6 else "--"
        axes.plot(
            measured,
            seconds,
            color=colour,
            marker=marker,
            linestyle=line,
            label=name.replace("`", ""),
        )
    guide = [2e-4 * size / sizes[0] for size in sizes]
    axes.plot(sizes, guide, color="0.6", linestyle=":", label="in proportion to the points")
    axes.axhline(10, color="0.4", linewidth=1)
    axes.annotate("10 s", (0, 10), (4, 3), ("axes fraction", "data"), "offset points", color="0.3")
    axes.set(xscale="log", yscale="log", xlabel="points of the grid, all finished")
    axes.set_ylabel("processor time (s)")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=_multiple, nargs="+", default=POINTS, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, help="the best counts (3)")
    parser.add_argument(
        "--postgresql", default="", metavar="URI", help="an empty database of MLflow"
    )
    parser.add_argument("--stores", type=Path, help="keep the stores in this folder, or use them")
    parser.add_argument("--numbers", type=Path, help="JSON file: read, added to, and drawn")
    parser.add_argument("--picture", type=Path, help="PNG file to draw")
    options = parser.parse_args(arguments)
    if options.postgresql and len(options.points) > 1:
        parser.error("--postgresql: give one --points with it, for its database is filled once")
    table = _read(options.numbers)
    with tempfile.TemporaryDirectory() as scratch:
        for points in options.points:
            folder = (options.stores or Path(scratch)) / str(points)
            folder.mkdir(parents=True, exist_ok=True)
            uri = options.postgresql or f"sqlite:///{folder / 'mlflow.db'}"
            for name, numbers in measure(points, folder.resolve(), uri, options.repeats).items():
                table.setdefault(name, {})[points] = numbers
            if options.numbers:
                options.numbers.write_text(json.dumps(table, indent=1), encoding="utf-8")
    print(markdown(table))
    if options.picture:
        draw(table, options.picture)


def _read(file: Path | None) -> Table:
    if file is None or not file.exists():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return {name: {int(n): tuple(t) for n, t in row.items()} for name, row in content.items()}


def _multiple(text: str) -> int:
    if not text.isdecimal() or int(text) == 0 or int(text) % POINTS_PER_SEED:
        raise argparse.ArgumentTypeError(f"must be a multiple of {POINTS_PER_SEED}, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
