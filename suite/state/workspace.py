"""The state of runs under way: lease, checkpoint, and results not yet in MLflow.

One folder per MLflow experiment, one subfolder per run; on this machine, on a file system that
machines share, or in an object store that they all reach.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import is_sqlite
from suite.declarations.config import RunConfig
from suite.declarations.predictions import PREDICTIONS_FILE, encoded
from suite.declarations.results import RunResult
from suite.declarations.stored import MALFORMED, reason
from suite.engine.checkpoint import RefusedError, Require, RunState, any_run, cannot_be_read
from suite.engine.runs import TrainedRun
from suite.state import experiment_folder
from suite.state.best_model import (
    BEST_FILES,
    CONFIG_FILE,
    MODEL_FILE,
    read_model,
    read_predictions,
)
from suite.state.files import ASIDE, FolderFiles, StateFiles
from suite.state.leases import FileLeases, Lease, LeaseLostError, Leases
from suite.state.place import default_state_dir
from suite.state.postgresql_leases import PostgresLeases

RESULT_FILE = "result/result.json"
BEST_FOLDER = "result/best"
CHECKPOINT_FILE = "checkpoint.safetensors"
# The result file goes last: as long as it is there, the next start comes here again.
FILES = (
    *(f"{BEST_FOLDER}/{name}" for name in BEST_FILES),
    *(f"{name}{ASIDE}" for name in (CHECKPOINT_FILE, RESULT_FILE)),
    *(CHECKPOINT_FILE, RESULT_FILE),
)
REMEDY = "train its run again"


class Workspace:
    """The state of one MLflow experiment's runs under `root`.

    Parameters
    ----------
    root
        The state directory: a folder, or an object store's address.
    store
        What tells the MLflow experiment from all others, as :func:`experiment_folder.find` has it.
    lease_database
        The PostgreSQL database that keeps the leases; empty keeps them as files in the folder.

    Raises
    ------
    ConfigError
        If the state is in an object store, where no lease can be, and there is no database.
    """

    def __init__(self, root: Path | str, store: tuple[str, ...], lease_database: str = "") -> None:
        if not isinstance(root, Path) and not lease_database:
            raise ConfigError(
                f"state_dir: needs leases in PostgreSQL, which an object store cannot keep, "
                f"got {root}; set SUITE_STORAGE to a postgresql:// address, or give a folder"
            )
        self._root = root
        self.folder = self.folder_of(store)
        self._files = _files(self.folder)
        self.leases: Leases = (
            PostgresLeases(lease_database, experiment_folder.lease_name(store))
            if lease_database
            else FileLeases(Path(self.folder), self._beside(store))
        )

    def folder_of(self, store: tuple[str, ...]) -> Path | str:
        """The folder of an experiment in the same state directory."""
        name = experiment_folder.find(self._root, store, _files(self._root).folders())
        return self._root / name if isinstance(self._root, Path) else f"{self._root}/{name}"

    def _beside(self, store: tuple[str, ...]) -> Path | None:
        """The experiment's folder beside an SQLite store, which every process that writes there
        sees, whatever state directory it was given.
        """
        if not is_sqlite(store[0]):
            return None
        root = default_state_dir(store[0])
        return root / experiment_folder.find(root, store, _files(root).folders())

    def elsewhere(self, fingerprints: Collection[str]) -> dict[Path | str, int]:
        """Other folders of the state directory, to how many runs they hold that are not in ours."""
        if not isinstance(self._root, Path):
            return {}  # what names the folders there does not change when a project is moved
        wanted = set(fingerprints) - set(self._files.folders())
        found: dict[Path | str, int] = {}
        for name in filter(experiment_folder.FOLDER.fullmatch, _files(self._root).folders()):
            files = FolderFiles(self._root / name)
            kept = {*files.folders_with(CHECKPOINT_FILE), *files.folders_with(RESULT_FILE)}
            if kept & wanted:
                found[self._root / name] = len(kept & wanted)
        found.pop(self.folder, None)
        return found

    def take_lease(self, fingerprint: str) -> Lease | None:
        """The right to train a run, held until released; None if another process has it.

        Raises
        ------
        CheckpointError
            If the state directory cannot be written.
        LeasesAwayError
            If the server that keeps the leases does not answer.
        """
        return self.leases.take(fingerprint)

    def is_held(self, lease: Lease) -> bool:
        """Whether a lease is held at this moment: to be asked before whatever is written."""
        self.leases.confirm()
        return lease.held

    def require_held(self, leases: Sequence[Lease]) -> None:
        """Make sure that leases are held at this moment.

        Raises
        ------
        LeaseLostError
            If one is not.
        """
        self.leases.confirm()
        lost = sum(not lease.held for lease in leases)
        if lost:
            raise LeaseLostError(
                f"leases: the connection to PostgreSQL broke, and {lost} of {len(leases)} runs "
                "may be another worker's now; start the command again to go on"
            )

    def save(self, state: RunState) -> None:
        """Write a run's checkpoint."""
        self._files.save(f"{state.config.fingerprint}/{CHECKPOINT_FILE}", state)

    def load(self, fingerprint: str, require: Require = any_run) -> RunState | None:
        """A run's checkpoint, if there is one.

        Raises
        ------
        CheckpointError
            As :func:`suite.engine.checkpoint.load`, which says what `require` is.
        """
        return self._files.load(f"{fingerprint}/{CHECKPOINT_FILE}", require)

    def set_aside(self, fingerprint: str, file: str) -> str:
        """Keep a run's file from being used again; its new name."""
        return self._files.set_aside(f"{fingerprint}/{file}").rpartition("/")[2]

    def keep_result(
        self, run: TrainedRun, classes: Sequence[str], image_shape: Sequence[int]
    ) -> None:
        """Put a finished run aside until MLflow has it.

        The best checkpoint, its configuration and its predictions are the files which MLflow
        will hold; the result file appears last and makes it complete.
        """
        place = run.config.fingerprint
        about = {"config": run.config.model_dump(), "classes": classes, "image_shape": image_shape}
        if run.parameters is not None:
            tensors = {f"parameters/{name}": value for name, value in run.parameters.items()}
            tensors |= {f"buffers/{name}": value for name, value in (run.buffers or {}).items()}
            text = json.dumps(about, indent=2)
            self._files.write_model(f"{place}/{BEST_FOLDER}/{MODEL_FILE}", tensors, text)
            if run.predictions is not None:
                content = encoded(run.predictions, place)
                self._files.write_bytes(f"{place}/{BEST_FOLDER}/{PREDICTIONS_FILE}", content)
            self._files.write(f"{place}/{BEST_FOLDER}/{CONFIG_FILE}", text)
        self._files.write(f"{place}/{RESULT_FILE}", run.to_json())

    def kept_results(self) -> list[str]:
        """Fingerprints of finished runs which MLflow does not have yet."""
        return self._files.folders_with(RESULT_FILE)

    def has_result(self, fingerprint: str) -> bool:
        """Whether a finished run waits here for MLflow."""
        return self._files.exists(f"{fingerprint}/{RESULT_FILE}")

    def result(self, fingerprint: str) -> RunResult:
        """A finished run put aside by :meth:`keep_result`.

        Raises
        ------
        RefusedError
            If the file is not what was written, or another run's.
        CheckpointError
            If the system does not let it be read.
        FileNotFoundError
            If there is none: another process may have brought it into MLflow.
        """
        name = f"{fingerprint}/{RESULT_FILE}"
        try:
            result = RunResult.from_json(self._files.read(name))
            _require_run(result.config, fingerprint)
        except MALFORMED as error:
            raise self._refused("result", name, reason(error)) from error
        except (FileNotFoundError, ConnectionError):
            raise
        except OSError as error:
            raise cannot_be_read(f"result: {self._files.shown(name)}", error) from error
        return result

    def check_result(self, fingerprint: str) -> RunResult:
        """As :meth:`result`, and its model was looked at, too."""
        result = self.result(fingerprint)
        place = f"{fingerprint}/{BEST_FOLDER}"
        with self.best(result) as folder:
            if folder is not None:
                shown = self._files.shown(place)
                model = read_model(folder, shown, REMEDY)
                read_predictions(folder, fingerprint, shown, REMEDY)
                try:
                    _require_run(model.config, fingerprint)
                except ValueError as error:
                    raise self._refused("best checkpoint", place, str(error)) from error
            elif "best_epoch" in result.summary:
                raise self._refused("best checkpoint", place, f"it has no {CONFIG_FILE}")
        return result

    def _refused(self, what: str, name: str, why: str) -> RefusedError:
        return RefusedError(f"{what}: {self._files.shown(name)} cannot be read ({why})", REMEDY)

    @contextmanager
    def best(self, result: RunResult) -> Iterator[Path | None]:
        """A folder with the files of a kept run's best checkpoint; None if it has none."""
        place = f"{result.config.fingerprint}/{BEST_FOLDER}"
        if not self._files.exists(f"{place}/{CONFIG_FILE}"):
            yield None
            return
        with self._files.local(place, BEST_FILES) as folder:
            yield folder

    def forget(self, fingerprint: str) -> None:
        """Remove a run's files, once MLflow has all of it."""
        self._files.remove(fingerprint, FILES)


def _files(place: Path | str) -> StateFiles:
    return FolderFiles(place) if isinstance(place, Path) else StateFiles(place)


def _require_run(config: RunConfig, fingerprint: str) -> None:
    if config.fingerprint != fingerprint:
        raise ValueError(
            f"config: must be that of run {fingerprint}, got {config.run_name} "
            f"({config.fingerprint})"
        )
