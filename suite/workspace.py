"""The local files of runs under way: lease, checkpoint, and results not yet in MLflow.

One folder per MLflow experiment, one subfolder per run. A run's lease is a lock held by the
operating system for the process that trains it: it ends with the process, however that dies, and
never before.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from suite import checkpoint
from suite.checkpoint import CheckpointError, RunState, write_tensors
from suite.config import RunConfig, parse
from suite.metrics import EpochRecord

if TYPE_CHECKING:
    from suite.fleet import FinishedRun

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"


class Workspace:
    """The files of one MLflow experiment's runs under `root`.

    Parameters
    ----------
    root
        The state directory.
    store
        Tracking URI and experiment id, which keep equal runs of different stores apart.
    name
        The experiment's name, for a person who looks into the folder.
    """

    def __init__(self, root: Path, store: tuple[str, str], name: str) -> None:
        key = hashlib.sha256("|".join(store).encode()).hexdigest()[:8]
        slug = re.sub(r"[^\w.-]+", "-", name) or "experiment"
        self.folder = root / f"{slug}-{key}"

    def lease(self, fingerprint: str) -> FileLock | None:
        """The right to train a run, held until released; None if another process has it.

        Raises
        ------
        CheckpointError
            If the state directory cannot be written.
        """
        try:
            # The lock files stay: removing one could let two processes lock two files of one name.
            (self.folder / "leases").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "leases" / fingerprint, thread_local=False)
            lock.acquire(timeout=0)
        except Timeout:
            return None
        except OSError as error:
            raise CheckpointError(
                f"state_dir: {self.folder} cannot be written ({error}); "
                "free some space or choose another --state-dir"
            ) from error
        return lock

    def save(self, state: RunState) -> None:
        """Write a run's checkpoint."""
        checkpoint.save(state, self._checkpoint(state.config.fingerprint))

    def load(self, fingerprint: str) -> RunState | None:
        """A run's checkpoint, if there is one."""
        return checkpoint.load(self._checkpoint(fingerprint))

    def _checkpoint(self, fingerprint: str) -> Path:
        return self.folder / fingerprint / "checkpoint.safetensors"

    def keep_result(
        self, run: FinishedRun, classes: Sequence[str], image_shape: Sequence[int]
    ) -> Path:
        """Put a finished run aside until MLflow has it; the folder with its files.

        The best checkpoint and its configuration are the files which MLflow will hold; the
        result file appears last and makes the folder complete.
        """
        folder = self.folder / run.config.fingerprint / "result"
        about = {"config": run.config.model_dump(), "classes": classes, "image_shape": image_shape}
        if run.parameters is not None:
            tensors = {f"parameters/{name}": value for name, value in run.parameters.items()}
            tensors |= {f"buffers/{name}": value for name, value in (run.buffers or {}).items()}
            write_tensors(tensors, folder / "best" / MODEL_FILE, {})
            _write_text(folder / "best" / CONFIG_FILE, json.dumps(about, indent=2))
        result = {
            "config": run.config.model_dump(),
            "history": [asdict(record) for record in run.history],
            "summary": run.summary,
            "diverged": run.diverged,
        }
        _write_text(folder / RESULT_FILE, json.dumps(result))
        return folder

    def kept_results(self) -> list[str]:
        """Fingerprints of finished runs which MLflow does not have yet."""
        return sorted(f.parent.parent.name for f in self.folder.glob(f"*/result/{RESULT_FILE}"))

    def has_result(self, fingerprint: str) -> bool:
        """Whether a finished run waits here for MLflow."""
        return (self.folder / fingerprint / "result" / RESULT_FILE).exists()

    def result(self, fingerprint: str) -> KeptResult:
        """A finished run put aside by :meth:`keep_result`."""
        return KeptResult(self.folder / fingerprint / "result")

    def forget(self, fingerprint: str) -> None:
        """Remove a run's files, once MLflow has all of it."""
        folder = self.folder / fingerprint
        # The result file goes last: as long as it is there, the next start comes here again.
        shutil.rmtree(folder / "result" / "best", ignore_errors=True)
        self._checkpoint(fingerprint).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


class KeptResult:
    """A finished run on disk."""

    def __init__(self, folder: Path) -> None:
        content = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        self.config: RunConfig = parse(content["config"])
        self.history = [EpochRecord(**record) for record in content["history"]]
        self.summary: dict[str, float] = content["summary"]
        self.diverged: bool = content["diverged"]
        self.best = folder / "best" if (folder / "best").exists() else None


def _write_text(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"state_dir: {path} cannot be written ({error}); "
            "free some space or choose another --state-dir"
        ) from error
