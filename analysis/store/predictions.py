"""What the returned models predict on the test images, read when it is first asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pyarrow as pa

from analysis.store.backend import Backend
from analysis.store.cache import cache_path
from analysis.store.prediction_table import packed, read_table, unpacked, write_table
from suite.basics.errors import first_line
from suite.basics.files import written_whole
from suite.declarations.predictions import UNREADABLE, Predictions

KEPT_WITH = "test_ece"  # the metric that is logged of every run whose predictions are kept

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptPredictions:
    """The predictions of an experiment's runs.

    Attributes
    ----------
    reopen
        Opens the store they are in.
    address, experiment_id
        The store and the experiment, for the cache.
    wanted
        Run id to fingerprint, of the runs that have kept some.
    cache
        Whether to keep a copy of what was read, and read only what is new.
    """

    reopen: Callable[[], AbstractContextManager[Backend]]
    address: str
    experiment_id: str
    wanted: Mapping[str, str]
    cache: bool

    @cached_property
    def by_run(self) -> Mapping[str, Predictions]:
        """Run id to predictions; a run whose file is gone or damaged is left out, with a notice."""
        if not self.wanted:
            return {}
        with self.reopen() as backend:
            cache = self.cache and backend.is_mlflow
            found = self._cached() if cache else {}
            new = {run: key for run, key in self.wanted.items() if run not in found}
            if new:
                found = {**found, **backend.predictions(self.experiment_id, new)}
                if cache:
                    self._save(found)
        return found

    def _cached(self) -> dict[str, Predictions]:
        path = cache_path(self.address, self.experiment_id, "predictions")
        if not path.exists():
            return {}
        try:
            kept = unpacked(read_table(path))
        except UNREADABLE as error:
            log.warning("cache %s is damaged (%s): it is made anew", path, first_line(error))
            return {}
        return {run: one for run, one in kept.items() if run in self.wanted}

    def _save(self, found: Mapping[str, Predictions]) -> None:
        path = cache_path(self.address, self.experiment_id, "predictions")
        try:
            with written_whole(path) as scratch:
                write_table(packed(found), scratch, quickly=True)
        except (OSError, pa.ArrowException) as error:
            log.warning("cache %s cannot be written (%s)", path, first_line(error))


NOTHING_KEPT = KeptPredictions(nullcontext, "", "", {}, cache=False)  # type: ignore[arg-type]


def kept_runs(runs: pd.DataFrame) -> dict[str, str]:
    """Run id to fingerprint of those runs of a frame that have kept their predictions."""
    there = runs[runs[KEPT_WITH].notna()]
    return dict(zip(there["run_id"], there["fingerprint"], strict=True))
