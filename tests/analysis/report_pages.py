"""Reports with known content, some of it hostile."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.exhibits.exhibit import Exhibit
from analysis.report.page import Missing, Page, RunsText, show

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
CLAIM = ("claim", "place", "statement", "experiment", "unit", "paper", "ours", "low", "high", "n")
MEMORY = [9.5, 100.25, np.nan, -3.0, 20.0]


def figure(width: float = 5.0, points: int = 3) -> Figure:
    drawn = Figure(figsize=(width, 3.0))
    axes = drawn.add_subplot()
    axes.scatter(range(points), np.random.default_rng(0).normal(size=points))
    axes.set_xlabel("σw")
    return drawn


def recipes() -> pd.DataFrame:
    names = ["sgd b2", "sgd b10", "adam", "muon", "momentum"]
    return pd.DataFrame({"recipe": names, "memory": MEMORY, "reached": [True, False] * 2 + [True]})


def exhibit(name: str = "table-2", **other: object) -> Exhibit:
    given = {
        "name": name,
        "title": "Memory of the recipes",
        "place": "Table 2",
        "experiment": "main",
        "caption": "Memory in pp.",
        "figure": None,
        "table": recipes(),
        "missing": "",
    }
    return Exhibit(**{**given, **other})


def claims() -> pd.DataFrame:
    verdicts = ["reproduced", "contradicted", "undetermined", "reproduced"]
    rows = [
        (f"c{i}", "Figure 2", f"{HOSTILE} {i}", "main", "pp", "26.5", ours, low, high, 10)
        for i, (ours, low, high) in enumerate(
            [(25.1, 24.0, 27.0), (9.0, 8.0, 10.0), (np.nan,) * 3, (100.0, 90.0, 110.0)]
        )
    ]
    frame = pd.DataFrame(rows, columns=list(CLAIM))
    frame = frame.assign(verdict=verdicts, reason="because", reduced=["", "holds", "open", ""])
    numbers = dict.fromkeys(("reduced_ours", "reduced_low", "reduced_high"), np.nan)
    words = dict.fromkeys(("reduced_on", "reduced_differs", "reduced_reason"), HOSTILE)
    return frame.assign(reduced_n=0, **numbers, **words)


def texts() -> dict[str, str]:
    return {"csv": "recipe,σw\n<b>,1\n", "md": "| σw |\n", "tex": "\\begin{tabular}{r}</pre>\n"}


def page() -> Page:
    """Two figures, one of them wide, a wide table, and names that want to be markup."""
    wide = pd.DataFrame([range(30)] * 3, columns=[f"{HOSTILE} {i}" for i in range(30)])
    exhibits = [
        exhibit("figure-2", place="Figure 2", figure=figure()),
        exhibit("figure-3", place="Figure 3", figure=figure(14.0), experiment=HOSTILE),
        exhibit(),
        exhibit("phase-diagram", place="", title=HOSTILE, caption=HOSTILE, table=wide),
    ]
    return Page(
        title=f"A report {HOSTILE}",
        facts=[("Experiments", HOSTILE), ("Store", "sqlite:////" + "very-long-folder/" * 20)],
        findings=[HOSTILE],
        claims=claims(),
        claims_files=texts(),
        exhibits=[show(one, texts(), one.name) for one in exhibits],
        missing=[Missing("Figure 4: long", "python -m suite.grid --experiment long " + HOSTILE)],
        runs=[RunsText(HOSTILE, "x" * 400)],
    )
