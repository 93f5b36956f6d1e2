"""What every kind of MLflow store answers, and the one-line error when it cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from analysis.store.history import Slots, Stamp
from suite.basics.addresses import without_password
from suite.basics.errors import first_line
from suite.declarations.attempts import ATTEMPT_TAG, attempt_of, rank
from suite.declarations.layers import LAYERS_TAGS
from suite.declarations.predictions import Predictions
from suite.declarations.tags import CODE_VERSION_TAG, CONFIG_TAG, DIVERGED_TAG, FINGERPRINT_TAG

# Those that are read.
TAGS = (
    *(FINGERPRINT_TAG, CONFIG_TAG, DIVERGED_TAG, ATTEMPT_TAG, CODE_VERSION_TAG),
    *LAYERS_TAGS,
)


class StoreError(ValueError):
    """A store that cannot be read: one line with what is wrong, the value received, a remedy."""


def no_store(address: str, error: Exception) -> StoreError:
    """The line for a store that is not there, or is not MLflow's."""
    reason = first_line(getattr(error, "orig", None) or error)
    return StoreError(
        f"tracking_uri: must be an MLflow store, got {address} ({without_password(reason)}); "
        "give the --tracking-uri with which the runs were made"
    )


@dataclass(frozen=True)
class RawRun:
    """A run of this suite as MLflow holds it, times in milliseconds since 1970.

    Attributes
    ----------
    end_time
        0 while the run is going on.
    params
        Those read: all of them only where the tag `config` is absent.
    metrics
        The latest values, NaN and ±inf restored.
    last_epoch, last_timestamp
        Of the last epoch that was logged; 0 if none was.
    """

    run_id: str
    name: str
    status: str
    start_time: int
    end_time: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    last_epoch: int
    last_timestamp: int

    @property
    def fingerprint(self) -> str:
        """The identity of its configuration."""
        return self.tags[FINGERPRINT_TAG]

    @property
    def rank(self) -> tuple[int, str]:
        """Sorts the runs of one configuration; the last of them counts."""
        return rank(attempt_of(self.tags.get(ATTEMPT_TAG)), self.run_id)

    @property
    def stamp(self) -> Stamp:
        """Equal as long as a finished run's history is the same.

        The suite never writes to a run that ended, unless it takes the run up again, which
        changes its end time; the last epoch guards against rows logged by hand.
        """
        return self.end_time, self.last_epoch, self.last_timestamp


class Backend(Protocol):
    """A store that is open for reading.

    Attributes
    ----------
    address
        Names the store for good: absolute, without password.
    errors
        What it raises when it cannot be read.
    is_mlflow
        Whether analyses can be logged there, and a copy of its histories is worth its room in the
        cache; else it is files that were made from such a store.
    """

    address: str
    errors: tuple[type[Exception], ...]
    is_mlflow: bool

    def experiments(self) -> Mapping[str, str]:
        """Names of the experiments that are not deleted, to their ids."""

    def deleted_experiments(self) -> Collection[str]:
        """Names of the experiments that are deleted and may be restored."""

    def newest(self) -> str:
        """Name of the experiment in which the suite began a run last; "" if there is none."""

    def runs(self, experiment_id: str) -> Sequence[RawRun]:
        """The suite's runs that are not deleted, whatever their status."""

    def read(self, slots: Slots) -> None:
        """Fill the slots of the given runs with all their epoch metrics."""

    def predictions(
        self, experiment_id: str, wanted: Mapping[str, str]
    ) -> Mapping[str, Predictions]:
        """By run id, what runs have kept of the test images; `wanted` is run id to fingerprint."""

    def origin(self, experiment_id: str) -> str:
        """Where an experiment's runs come from if this is not where they were logged; else ""."""

    def close(self) -> None:
        """Free the connection."""
