"""What the tests of training and of sweeps share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from finished_run import ARGUMENTS, Finished, finish
from job_helpers import ThisProcess
from numpy.typing import NDArray
from sweep_commands import RUNS, Place, Reference, histories
from training_commands import Nursery

from suite.sweep import sweep

KERAS_VALUES = Path(__file__).parents[1] / "reference" / "keras_values.npz"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The tensors are so small that threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _digits_are_read_once() -> Iterator[None]:
    """scikit-learn decodes its text file anew at every call; nobody writes into the arrays."""
    original = sklearn.datasets.load_digits
    sklearn.datasets.load_digits = cache(original)
    yield
    sklearn.datasets.load_digits = original


@pytest.fixture(scope="session")
def keras_values() -> Mapping[str, NDArray[np.float64]]:
    """What Keras computed; `tests/reference/make_keras_values.py` says what each key holds."""
    with np.load(KERAS_VALUES) as file:
        return dict(file)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where training commands are born quickly."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def uninterrupted(
    nursery: Nursery, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The run that nothing has disturbed, in a store of its own."""
    return finish(nursery, empty_store, tmp_path_factory.mktemp("uninterrupted"), ARGUMENTS)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps train with one worker that is no process of its own."""
    monkeypatch.setattr(sweep, "find_place", lambda _where, job, _workers: ThisProcess(job))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Where a test runs the real sweep command; what it leaves running is ended."""
    made = Place(tmp_path)
    yield made
    made.clean()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The numbers of a sweep of processes which nobody disturbs."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    place.finish()
    found = histories(place)
    assert len(found) == RUNS
    return found
