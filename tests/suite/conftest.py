"""What the tests of the training engine share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

KERAS_VALUES = Path(__file__).parents[1] / "reference" / "keras_values.npz"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The tensors are so small that threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def keras_values() -> Mapping[str, NDArray[np.float64]]:
    """What Keras computed; `tests/reference/make_keras_values.py` says what each key holds."""
    with np.load(KERAS_VALUES) as file:
        return dict(file)
