"""Keep what finished runs predict on the test images: ``python -m suite.keep_predictions``.

Runs of this version keep that by themselves. For those of earlier ones it is computed here from
their best checkpoints, without training, and put where a new run has it, with `test_nll` and
`test_ece`. What is there stays: the command can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.basics.cli import (
    BAD_INPUT,
    INTERRUPTED,
    Parser,
    add_settings,
    chosen,
    complain,
    parse_known,
)
from suite.basics.errors import first_line
from suite.basics.mlflow_client import default_uri, every_page
from suite.basics.settings import ConfigError
from suite.basics.stopping import StopRequest
from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine
from suite.declarations.predictions import (
    BEST_ARTIFACT,
    DAMAGED,
    PREDICTIONS_FILE,
    Predictions,
    decoded,
    encoded,
)
from suite.declarations.stored import MALFORMED, read_config, reason
from suite.declarations.tags import CONFIG_TAG, FINGERPRINT_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from suite.data.splits import ImageData

FAILED = 1
OPTIONS = ("experiment", "tracking_uri")
FINISHED = f"attributes.status = 'FINISHED' AND tags.{FINGERPRINT_TAG} LIKE '%'"
# Another machine rounds otherwise, and may take another class where two are as likely: one image
# in a hundred, and at least one, may be judged otherwise than the logged accuracy says.
OTHERWISE = 0.01

MADE, THERE, NO_MODEL = "made", "there already", "without a checkpoint"


class CannotError(Exception):
    """Why a run's predictions cannot be computed, in one line."""


@contextmanager
def _one_line() -> Iterator[None]:
    """What goes wrong with a store ends one run and not the command.

    Drivers of object stores have errors of their own, and may not be installed.
    """
    try:
        yield
    except CannotError:
        raise
    except Exception as error:
        raise CannotError(first_line(error)) from error


@dataclass
class Backfill:
    """Computes what finished runs of one experiment lack.

    Attributes
    ----------
    client
        Of MLflow's store.
    uri
        The store's address.
    machine
        Where the data sets are, and the device.
    """

    client: MlflowClient
    uri: str
    machine: Machine

    def __post_init__(self) -> None:
        self._data: dict[tuple[object, ...], ImageData] = {}

    def complete(self, run: Run) -> str:
        """Give a run its predictions unless it has them; which of the outcomes it was.

        Raises
        ------
        CannotError
            If they cannot be computed, or are not those of the logged accuracy.
        """
        from suite.state.best_model import CONFIG_FILE

        with _one_line():
            files = self._files(run)
            if PREDICTIONS_FILE in files and self._is_sound(run):
                return THERE
        if CONFIG_FILE not in files:
            return NO_MODEL
        predictions, nll = self._predict(run)
        logged = run.data.metrics.get("test_accuracy")
        allowed = max(1, OTHERWISE * predictions.labels.size) / predictions.labels.size
        if logged is None or abs(predictions.accuracy - logged) > allowed * (1 + 1e-9):
            raise CannotError(
                f"test_accuracy: must be the logged one, {logged}, got {predictions.accuracy:.4f}; "
                "give the --data-dir with which the run was trained"
            )
        with _one_line():
            self._keep(run, predictions, nll)
        return MADE

    def _files(self, run: Run) -> set[str]:
        found = self.client.list_artifacts(run.info.run_id, BEST_ARTIFACT)
        return {Path(file.path).name for file in found}

    def _is_sound(self, run: Run) -> bool:
        """Whether its file can be read: one that is damaged is made anew."""
        with tempfile.TemporaryDirectory(prefix="predictions-") as folder:
            place = f"{BEST_ARTIFACT}/{PREDICTIONS_FILE}"
            file = self.client.download_artifacts(run.info.run_id, place, folder)
            try:
                decoded(Path(file).read_bytes(), run.data.tags[FINGERPRINT_TAG])
            except DAMAGED:
                return False
            return True

    def _predict(self, run: Run) -> tuple[Predictions, float]:
        from mlflow.exceptions import MlflowException

        from suite.data.parts import DataError
        from suite.engine.checkpoint import CheckpointError
        from suite.engine.device import torch_device
        from suite.trained_model import load

        try:
            config = read_config(json.loads(run.data.tags[CONFIG_TAG]))
            test = self._data_of(config).test.to(torch_device(self.machine.device))
            model = load(run.info.run_id, tracking_uri=self.uri).to(test.images.device)
        except (CheckpointError, ConfigError, DataError, MlflowException, OSError) as error:
            raise CannotError(first_line(error)) from error
        except MALFORMED as error:
            raise CannotError(f"config: cannot be read ({reason(error)})") from error
        nll, _ = model.evaluate(test)
        return model.predict(test), nll

    def _data_of(self, config: RunConfig) -> ImageData:
        from suite.engine.preparation import data_key, load_data

        key = data_key(config)
        if key not in self._data:
            self._data = {key: load_data(config, self.machine)[0]}  # one at a time: they are large
        return self._data[key]

    def _keep(self, run: Run, predictions: Predictions, nll: float) -> None:
        """Write metrics and file; the file last, for it says that all of it is there."""
        from mlflow.entities import Metric

        run_id, when = run.info.run_id, run.info.end_time
        found = {"test_nll": nll, "test_ece": predictions.calibration_error}
        metrics = [Metric(name, value, when, 0) for name, value in found.items()]
        self.client.log_batch(run_id, metrics=metrics, synchronous=True)
        with tempfile.TemporaryDirectory(prefix="predictions-") as folder:
            file = Path(folder) / PREDICTIONS_FILE
            file.write_bytes(encoded(predictions, run.data.tags[FINGERPRINT_TAG]))
            self.client.log_artifact(run_id, str(file), BEST_ARTIFACT)


def complete_all(backfill: Backfill, runs: Iterator[Run], stop: Callable[[], bool]) -> Counter[str]:
    """Complete runs until all are or `stop` says so; how many of each outcome.

    A line says of each run that cannot be completed why; a reason that many share is said once.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for run in runs:
        if stop():
            break
        try:
            counts[backfill.complete(run)] += 1
        except CannotError as error:
            counts["failed"] += 1
            reasons[str(error)] += 1
            if reasons[str(error)] == 1:
                complain(RuntimeError(f"run {run.info.run_id} ({run.info.run_name}): {error}"))
    return counts


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m suite.keep_predictions",
        description="Keep what finished runs of earlier versions predict on the test images.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    made.add_argument("--experiment", metavar="NAMES", help="one, or several with commas between")
    made.add_argument("--tracking-uri", help="MLflow store ($MLFLOW_TRACKING_URI, or mlflow.db)")
    add_settings(made, Machine, "the machine")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 some cannot be, 2 bad input, 130 interrupted."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for each file
    from mlflow.exceptions import MlflowException

    given = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parse_known(parser(), given, (*Machine.names(), *OPTIONS))
        machine = Machine.parse(chosen(arguments, Machine))
        backfill, experiments = _opened(vars(arguments), machine)
    except (ConfigError, MlflowException, OSError) as error:
        complain(error if isinstance(error, ConfigError) else RuntimeError(first_line(error)))
        return BAD_INPUT
    worst = 0
    with StopRequest() as stop:
        for name, number in experiments.items():
            runs = every_page(
                backfill.client.search_runs, experiment_ids=[number], filter_string=FINISHED
            )
            counts = complete_all(backfill, runs, stop.requested)
            told = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
            print(f"{name}: {told or 'no finished run'}", flush=True)
            worst = max(worst, FAILED if counts["failed"] else 0)
            if stop.requested():
                print("interrupted; the same command goes on", file=sys.stderr)
                return INTERRUPTED
    return worst


def _opened(arguments: dict[str, str], machine: Machine) -> tuple[Backfill, dict[str, str]]:
    """The store, and name to id of the experiments."""
    from suite.basics.sqlite_address import is_sqlite, sqlite_file
    from suite.engine.device import set_threads, torch_device
    from suite.tracking.store import client_of, one_name

    names = [name for name in arguments.get("experiment", "").split(",") if name]
    if not names:
        raise ConfigError("experiment: must be named, got nothing; give --experiment NAME")
    torch_device(machine.device)
    if machine.threads:
        set_threads(machine.threads)
    uri = one_name(arguments.get("tracking_uri") or default_uri())
    if is_sqlite(uri) and not sqlite_file(uri).is_file():  # MLflow would make an empty one
        raise ConfigError(
            f"tracking_uri: no such store, got {uri}; give the one with which the runs were made"
        )
    client = client_of(uri)
    experiments = {}
    for name in names:
        found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise ConfigError(
                f"experiment: must be in the store, got {name!r}, which is not in {uri}; "
                "see its names in mlflow ui"
            )
        experiments[name] = str(found.experiment_id)
    return Backfill(client, uri, machine), experiments


if __name__ == "__main__":
    sys.exit(main())
