"""What is shown of kept predictions, and that nothing is where none are kept."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from exhibit_stores import store
from synthetic_frames import SCALES

from analysis.exhibits import predictions
from analysis.exhibits.part import CannotError
from analysis.exhibits.source import Source
from analysis.store.predictions import KeptPredictions
from suite.declarations.predictions import Predictions

LABELS = np.zeros(20, dtype=np.uint8)


class Kept:
    """A store in which σw above 1 predicts half of the images otherwise."""

    is_mlflow = False

    def __init__(self, scales: dict[str, float]) -> None:
        self.scales = scales

    def predictions(self, _: str, wanted: dict[str, str]) -> dict[str, Predictions]:
        sure = np.ones(20, dtype=np.float16)
        return {
            run: Predictions(
                LABELS, (np.arange(20) < 10 * (self.scales[run] > 1)).astype(np.uint8), sure, 10
            )
            for run in wanted
        }


@pytest.fixture(scope="module")
def source() -> Source:
    found = store("made", [{"optimizer": "sgd"}, {"optimizer": "adam"}])
    runs = found.runs.assign(test_ece=0.01 * found.runs["sigma_w"], test_nll=np.nan)
    scales = dict(zip(runs["run_id"], runs["sigma_w"], strict=True))
    backend: Any = Kept(scales)
    kept = KeptPredictions(lambda: nullcontext(backend), "", "", dict.fromkeys(scales, ""), False)
    return Source(replace(found, runs=runs, predictions=kept))


def test_function_memory_stands_beside_that_of_accuracy_and_calibration(source: Source) -> None:
    (part,) = predictions.function(source, "title")
    assert part.figure is not None
    assert part.table is not None
    # σw of 0.1, 0.5, 1 predict alike, and 1.8 and 2.5 do: 6 of 10 pairs differ on half the images.
    np.testing.assert_allclose(part.table["function memory (pp)"], 30)
    np.testing.assert_allclose(part.table["accuracy memory (pp)"], 50)
    np.testing.assert_allclose(part.table["memory of ECE (pp)"], 2.4)
    assert part.table["memory of NLL (nats)"].isna().all()
    assert part.table["of σw"].tolist() == ["0.1, 1.8"] * 2
    assert part.table["images"].tolist() == [20, 20]
    assert "half an energy distance" in part.caption[0]


def test_the_map_has_every_pair_of_scales_of_every_recipe(source: Source) -> None:
    (part,) = predictions.agreement(source, "title")
    assert part.figure is not None
    assert part.table is not None
    assert len(part.table) == 2 * len(SCALES) ** 2


@pytest.mark.parametrize("make", [predictions.function, predictions.agreement])
def test_without_predictions_it_says_which_command_makes_them(make: Any) -> None:
    bare = Source(store("made", [{"optimizer": "sgd"}]))
    with pytest.raises(CannotError, match=r"python -m suite\.keep_predictions --experiment made"):
        make(bare, "title")
