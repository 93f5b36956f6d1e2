"""The files of predictions that MLflow keeps, one a run, read many at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from suite.basics.addresses import local_folder
from suite.basics.errors import first_line
from suite.declarations.predictions import (
    BEST_ARTIFACT,
    PREDICTIONS_FILE,
    UNREADABLE,
    Predictions,
    decoded,
)

AT_ONCE = 8

log = logging.getLogger(__name__)


def read_all(
    folders: Mapping[str, str], wanted: Mapping[str, str], tracking_uri: str
) -> dict[str, Predictions]:
    """Predictions by run id; a run whose file cannot be read is left out, and a line says how many.

    Parameters
    ----------
    folders
        Run id to the address of its files.
    wanted
        Run id to fingerprint.
    tracking_uri
        Of the store, through which a server hands files out.
    """
    there = {run: key for run, key in wanted.items() if folders.get(run)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        contents = pool.map(lambda run: _content(folders[run], tracking_uri), there)
    found: dict[str, Predictions] = {}
    labels: dict[str, Predictions] = {}
    problems = []
    for (run, fingerprint), content in zip(there.items(), contents, strict=True):
        try:
            if isinstance(content, Exception):
                raise content
            one = decoded(content, fingerprint)
        except UNREADABLE as error:
            problems.append(f"run {run}: {first_line(error)}")
            continue
        # Runs on one test set share its labels in memory.
        shared = labels.setdefault(one.test_set, one).labels
        found[run] = Predictions(shared, one.predicted, one.confidence, one.classes)
    if problems:
        log.warning(
            "predictions of %d runs cannot be read (%s); they are left out; python -m "
            "suite.keep_predictions --experiment NAME makes those anew that are damaged",
            len(problems),
            problems[0],
        )
    return found


def _content(folder: str, tracking_uri: str) -> bytes | Exception:
    """A run's file, or why it cannot be had."""
    here = local_folder(folder)
    if here is not None:
        try:
            return (here / BEST_ARTIFACT / PREDICTIONS_FILE).read_bytes()
        except OSError as error:
            return error
    return _downloaded(f"{folder.rstrip('/')}/{BEST_ARTIFACT}/{PREDICTIONS_FILE}", tracking_uri)


def _downloaded(address: str, tracking_uri: str) -> bytes | Exception:
    from tempfile import TemporaryDirectory

    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory(prefix="predictions-") as target:
        try:
            path = download_artifacts(
                artifact_uri=address, dst_path=target, tracking_uri=tracking_uri
            )
            return Path(path).read_bytes()
        # Drivers of object stores have errors of their own, and may not be installed.
        except Exception as error:
            return OSError(first_line(error))
