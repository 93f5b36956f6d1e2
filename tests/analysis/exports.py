"""Exports of stores, as the command makes them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.export import main
from analysis.store.frames import Store


def export(uri: str, out: Path, experiment: str, *more: str) -> Path:
    words = ["--tracking-uri", uri, "--out", str(out), "--experiment", experiment]
    assert main([*words, *more]) == 0
    return out


def assert_same_problems(found: Store, expected: Store) -> None:
    for part in ("missing", "unfinished", "duplicates", "incomplete", "unreadable"):
        frames = [getattr(s.problems, part) for s in (found, expected)]
        ordered = [f.sort_values(list(f.columns[:1]), ignore_index=True) for f in frames]
        pd.testing.assert_frame_equal(*ordered)
    counts = [(s.problems.points, s.problems.other_runs) for s in (found, expected)]
    assert counts[0] == counts[1]
