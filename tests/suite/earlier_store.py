"""A store and a state directory as the flat tree of November 2026 (commit 3bf85a8) left them.

In ``tests/reference/earlier_store.tar.xz``, where @FOLDER@ stands for the folder they lay in and
``NAME@ID`` for the state folder of an experiment:

* experiment `earlier`: ``python -m suite.train --epochs 4 --width 2 --precision fp64
  --train-fraction 0.2 --optimizer momentum --learning-rate 0.01 --experiment earlier --seed SEED``;
  seed 0 came to its end, seed 1 was killed after its second checkpoint, seed 2 once all of it was
  on disk but before MLflow called it finished. `uninterrupted.json` has the histories that both
  have when nobody kills them.
* experiment `earlier-sweep`: ``python -m suite.grid --experiment earlier-sweep.toml``, 8 runs, all
  finished, with their study.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path

from mlflow_stores import Store

ARCHIVE = Path(__file__).parents[1] / "reference" / "earlier_store.tar.xz"
TRAINED = (
    *("--epochs", "4", "--width", "2", "--precision", "fp64", "--train-fraction", "0.2"),
    *("--optimizer", "momentum", "--learning-rate", "0.01", "--experiment", "earlier"),
    *("--threads", "1"),
)
FINISHED, CUT_OFF, NOT_UPLOADED = "0", "1", "2"  # the seeds


@dataclass(frozen=True)
class Earlier:
    """The unpacked store, and where it lies."""

    folder: Path
    store: Store

    def uninterrupted(self, seed: str) -> dict[str, list[float]]:
        """Metric to its values by epoch, of a run that nobody killed."""
        text = (self.folder / "uninterrupted.json").read_text(encoding="utf-8")
        found: dict[str, dict[str, list[float]]] = json.loads(text)
        return found[seed]

    def state(self, experiment: str) -> Path:
        """The state folder of an experiment."""
        (found,) = (self.folder / "state").glob(f"{experiment}-????????")
        return found

    def run(self, seed: str) -> tuple[str, str]:
        """Id and status of the run of a seed; there must be exactly one that is not deleted."""
        query = (
            "SELECT r.run_uuid, r.status FROM runs r JOIN params p ON p.run_uuid = r.run_uuid "
            "JOIN experiments e ON e.experiment_id = r.experiment_id WHERE e.name = 'earlier' "
            "AND p.key = 'seed' AND p.value = ? AND r.lifecycle_stage = 'active'"
        )
        ((run_id, status),) = self.store.rows(query, seed)
        return run_id, status


def unpack(folder: Path) -> Earlier:
    """The store and the state in `folder`, as if they had been made there."""
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(ARCHIVE.read_bytes()))) as archive:
        archive.extractall(folder, filter="data")
    for name in ("mlflow", "optuna"):
        script = (folder / f"{name}.sql").read_text(encoding="utf-8")
        with sqlite3.connect(folder / f"{name}.db") as database:
            database.executescript(script.replace("@FOLDER@", str(folder)))
        database.close()
    for state in (folder / "state").iterdir():
        slug, _, experiment_id = state.name.partition("@")
        # How that version told equal names in different stores apart.
        store = f"sqlite:///{folder}/mlflow.db|{experiment_id}"
        key = hashlib.sha256(store.encode()).hexdigest()[:8]
        state.rename(state.with_name(f"{slug}-{key}"))
    return Earlier(folder, Store(folder / "mlflow.db"))
