"""The files of a run that come back from MLflow."""

from __future__ import annotations

from pathlib import Path

from tracked_runs import begin

from suite.tracking.downloads import download_best
from suite.tracking.runs import Tracker


def test_the_files_of_the_best_checkpoint_come_back(tracker: Tracker, tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (tmp_path / "again").mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    run_id = begin(tracker)
    tracker.log_best(run_id, folder)
    again = download_best(run_id, tmp_path / "again", tracker.uri)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
