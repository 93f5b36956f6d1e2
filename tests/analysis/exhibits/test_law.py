from __future__ import annotations

from dataclasses import replace

import numpy as np
from exhibit_stores import store

from analysis.estimates.forgetting_law import fit_law
from analysis.exhibits.law import forgetting_law
from analysis.exhibits.source import Source


def test_the_law_is_shown_with_what_recipes_share_by_their_seeds() -> None:
    sizes = (8, 16, 32, 64, 128, 256)
    made = store("demo", [{"batch_size": size} for size in sizes])
    # What σw costs doubles under one seed and vanishes under another, in every recipe.
    cost = made.runs["seed"].map({0: 0.1, 1: 0.0, 42: -0.1})
    accuracy = made.runs["test_accuracy"] - cost * made.runs["sigma_w"]
    source = Source(replace(made, runs=made.runs.assign(test_accuracy=accuracy)))
    shown, _ = forgetting_law(source, "law")
    assert shown.table is not None
    independent = fit_law(source.recipes, source.memory).coefficients()
    np.testing.assert_allclose(shown.table["coefficient"], independent["coefficient"])
    intercept = shown.table["standard_error"][0] / independent["standard_error"][0]
    assert intercept > 1.1
