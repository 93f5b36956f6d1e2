from __future__ import annotations

import numpy as np
import pandas as pd
from figure_frames import panels
from matplotlib.colors import to_hex

from analysis.figures.agreement_map import agreement_pages
from analysis.figures.function_memory import function_memory_pages
from analysis.figures.style import OPTIMIZERS
from suite.declarations.config import RunConfig
from suite.declarations.perturbation import SIGMA_W, declared


def memories(recipes: int) -> pd.DataFrame:
    place = np.arange(recipes)
    return pd.DataFrame(
        {
            "recipe": [("sgd", "adam")[k % 2] + f" b{k}" for k in place],
            "optimizer": [("sgd", "adam")[k % 2] for k in place],
            "function_memory": 0.01 * place,
            "low": 0.005 * place,
            "high": 0.02 * place,
            "accuracy_corrected": 0.1 * place,
            "accuracy_low": np.nan,
            "accuracy_high": np.nan,
        }
    )


def test_each_recipe_has_a_point_in_both_panels_in_its_optimizers_colour() -> None:
    (page,) = function_memory_pages(memories(4), "title")
    for panel, factor in zip(panels(page), (1.0, 10.0), strict=True):
        points = [line for line in panel.get_lines() if line.get_marker() in "o^"]
        found = [(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in points]
        np.testing.assert_allclose(found, [(factor * k, k) for k in range(4)])
        colours = [to_hex(p.get_color()).upper() for p in points]
        assert colours == [OPTIMIZERS[name].colour for name in ("sgd", "adam")] * 2
    names = [text.get_text() for text in panels(page)[0].get_yticklabels()]
    assert names == ["SGD b0", "Adam b1", "SGD b2", "Adam b3"]


def test_an_estimate_below_zero_is_inside_its_panel_with_room_for_its_marker() -> None:
    table = memories(3)
    table.loc[1, ["function_memory", "accuracy_corrected"]] = [-0.02, -0.3]
    (page,) = function_memory_pages(table, "title")
    for panel, lowest in zip(panels(page), (-2.0, -30.0), strict=True):
        left, right = panel.get_xlim()
        assert left <= lowest - 0.02 * (right - left)


def test_many_recipes_have_several_pages_on_the_same_axes() -> None:
    pages = function_memory_pages(memories(25), "title")
    assert len(pages) == 2
    limits = [[panel.get_xlim() for panel in panels(page)] for page in pages]
    assert limits[0] == limits[1]


def shares(recipes: int, values: int = 3) -> pd.DataFrame:
    sigma = [0.1, 1.0, 2.5, 3.0, 4.0, 5.0][:values]
    rows = [
        {
            "recipe": f"sgd b{k}",
            "sigma_w": a,
            "other_sigma_w": b,
            "other_seeds": 0.9 - 0.1 * (a + b),
        }
        for k in range(recipes)
        for a in sigma
        for b in sigma
    ]
    return pd.DataFrame(rows)


def test_a_map_shows_and_writes_the_agreement_of_each_pair() -> None:
    (page,) = agreement_pages(shares(2), "title", SIGMA_W)
    for panel, name in zip(panels(page)[:2], ("SGD b0", "SGD b1"), strict=True):
        (image,) = panel.get_images()
        expected = [[0.9 - 0.1 * (a + b) for b in (0.1, 1, 2.5)] for a in (0.1, 1, 2.5)]
        np.testing.assert_allclose(image.get_array(), expected)
        assert panel.get_title() == name
        written = [text.get_text() for text in panel.texts]
        assert written == [f"{100 * share:.0f}" for row in expected for share in row]
        assert [text.get_text() for text in panel.get_xticklabels()] == ["0.1", "1", "2.5"]


def test_a_map_of_many_values_has_colours_alone_and_pages_share_their_scale() -> None:
    pages = agreement_pages(shares(9, values=6), "title", SIGMA_W)
    assert len(pages) == 2
    first = [panels(page)[0] for page in pages]
    assert not any(panel.texts for panel in first)
    assert first[0].get_images()[0].get_clim() == first[1].get_images()[0].get_clim()


def test_a_map_names_what_is_perturbed() -> None:
    renamed = {"sigma_w": "norm", "other_sigma_w": "other_norm"}
    words = {0.1: "batch", 1.0: "layer", 2.5: "none"}
    table = shares(1).rename(columns=renamed).replace({"norm": words, "other_norm": words})
    (page,) = agreement_pages(table, "title", declared(RunConfig, "norm"))
    panel = panels(page)[0]
    assert panel.get_xlabel() == "norm of one run"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["batch", "layer", "none"]
