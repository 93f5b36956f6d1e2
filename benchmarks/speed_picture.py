"""Draw what `benchmarks.sweep_speed --json` measured: ``python -m benchmarks.speed_picture``."""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from analysis.figures import style

# Okabe and Ito 2008, as the optimizers' colours are; the sweep is the one to see.
COLOURS = {
    "sweep": "#0072B2",
    "fleet of one": "#56B4E9",
    "Keras on JAX": "#E69F00",
    "plain script": "#999999",
}
LABELS = {
    "sweep": "suite.grid, fused fleets",
    "fleet of one": "suite.grid --fleet 1",
    "Keras on JAX": "Keras 3 fit on JAX",
    "plain script": "PyTorch script",
}
RULES = {"sgd": "SGD", "adam": "Adam"}


def draw(results: list[dict[str, object]]) -> Figure:
    """Bars of images per second, a panel for each batch size and rule."""
    figure = Figure(figsize=(9.5, 5.0))
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for panel, result in zip(panels.flat, results, strict=True):
        speeds = result["speeds"]
        assert isinstance(speeds, dict)
        names = [name for name in reversed(COLOURS) if name in speeds]
        middle = [statistics.median(speeds[name]) for name in names]
        ratios = {
            name: statistics.median(
                s / v for s, v in zip(speeds["sweep"], speeds[name], strict=True)
            )
            for name in names
        }
        bars = panel.barh([LABELS[n] for n in names], middle, color=[COLOURS[n] for n in names])
        for bar, name in zip(bars, names, strict=True):
            low, high = min(speeds[name]), max(speeds[name])
            place = bar.get_y() + bar.get_height() / 2
            panel.plot([low, high], [place, place], color="black", linewidth=1.5)
            times = "" if name == "sweep" else f" (1/{ratios[name]:.1f})"
            panel.text(high + 300, place, f"{bar.get_width():,.0f}{times}", va="center")
        panel.set_title(f"{RULES[str(result['optimizer'])]}, batch size {result['batch_size']}")
        panel.grid(visible=False, axis="y")
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(4))
    panels[0, 0].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panels[0, 0].set_xlim(0, 1.25 * max(max(r["speeds"]["sweep"]) for r in results))  # type: ignore[index]
    for panel in panels[1]:
        panel.set_xlabel("images per second")
    figure.suptitle(
        "Training, validation and tracking: ResNet-9 of width 8 on 8×8 digits, 2 cores\n"
        "medians, and in brackets what part of the sweep's speed; line: lowest to highest",
        fontsize=12,
    )
    return figure


def main() -> None:
    """Read the numbers and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", type=Path, help="from benchmarks.sweep_speed --json")
    parser.add_argument("--out", type=Path, default=Path("docs/images/speed.png"))
    arguments = parser.parse_args()
    style.apply()
    figure = draw(json.loads(arguments.numbers.read_text(encoding="utf-8")))
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
