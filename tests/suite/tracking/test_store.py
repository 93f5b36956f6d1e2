"""Many processes on one SQLite store: nothing is lost, and nobody hears of a lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.store_writers import measure


@pytest.mark.slow
def test_eight_processes_that_write_to_one_new_store_lose_no_row(tmp_path: Path) -> None:
    report = measure(8, 60.0, tmp_path)
    assert report.lost == 0
    assert report.notices == []
    assert report.finished == sum(part.runs for part in report.written) > 0
