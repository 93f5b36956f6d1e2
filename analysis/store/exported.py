"""Exported runs, a folder of Parquet files for each experiment, read as a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from analysis.store.backend import RawRun, StoreError
from analysis.store.exported_experiment import EXPORT, Export, exports_in
from analysis.store.history import Slots
from suite.declarations.predictions import Predictions


class ExportedStore:
    """See :class:`analysis.store.backend.Backend`.

    Parameters
    ----------
    folder
        Of one exported experiment, or of several, each in a folder of its own.
    """

    errors: tuple[type[Exception], ...] = (OSError,)
    is_mlflow = False

    def __init__(self, folder: Path) -> None:
        self.address = str(folder.absolute())
        if not folder.is_dir():
            raise StoreError(
                f"tracking_uri: no such folder, got {folder}; give one of exported runs, or an "
                "MLflow store such as sqlite:///mlflow.db"
            )
        found = [Export.opened(one) for one in exports_in(folder)]
        if not found:
            raise StoreError(
                f"tracking_uri: holds no exported runs, got {folder}; make them with {EXPORT}, or "
                "give an MLflow store such as sqlite:///mlflow.db"
            )
        self.exports = {str(one.folder): one for one in found}
        self._names = {str(one.about["experiment"]): str(one.folder) for one in found}
        if len(self._names) < len(found):
            raise StoreError(
                f"tracking_uri: an experiment is there twice, got {folder} "
                f"({', '.join(one.folder.name for one in found)}); remove one of its folders"
            )
        self._asked = ""

    def close(self) -> None:
        """Nothing to free: files are read whole."""

    def experiments(self) -> Mapping[str, str]:
        """See :class:`analysis.store.backend.Backend`."""
        return self._names

    def deleted_experiments(self) -> Collection[str]:
        """See :class:`analysis.store.backend.Backend`."""
        return ()

    def newest(self) -> str:
        """See :class:`analysis.store.backend.Backend`."""
        newest = max(self.exports.values(), key=lambda one: int(one.about["last_start"]))
        return str(newest.about["experiment"])

    def origin(self, experiment_id: str) -> str:
        """See :class:`analysis.store.backend.Backend`."""
        return self.exports[experiment_id].origin

    def runs(self, experiment_id: str) -> Sequence[RawRun]:
        """See :class:`analysis.store.backend.Backend`."""
        self._asked = experiment_id
        return self.exports[experiment_id].runs

    def predictions(
        self, experiment_id: str, wanted: Mapping[str, str]
    ) -> Mapping[str, Predictions]:
        """See :class:`analysis.store.backend.Backend`."""
        found = self.exports[experiment_id].predictions()
        return {run_id: one for run_id, one in found.items() if run_id in wanted}

    def read(self, slots: Slots) -> None:
        """See :class:`analysis.store.backend.Backend`."""
        self.exports[self._asked].read(slots)
