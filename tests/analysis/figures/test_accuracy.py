from __future__ import annotations

import numpy as np
import pandas as pd
from figure_frames import SCALES, panels, scale_table
from matplotlib.colors import to_hex

from analysis.figures import style
from analysis.figures.accuracy import accuracy_by_scale


def test_each_optimizer_keeps_its_colour_and_name_in_every_panel() -> None:
    figure = accuracy_by_scale(scale_table(), "title")
    assert [p.get_title() for p in panels(figure)] == ["batch size 16", "batch size 64"]
    for panel in panels(figure):
        sgd, adam = panel.get_lines()
        assert to_hex(sgd.get_color()).upper() == style.optimizer_look("sgd").colour
        assert to_hex(adam.get_color()).upper() == style.optimizer_look("adam").colour
        assert sgd.get_label() == "SGD  (spread 24.0 pp)"
        np.testing.assert_allclose(sgd.get_ydata(), 0.9 - 0.1 * np.array(SCALES))


def test_an_optimizer_that_nobody_has_given_a_look_is_drawn_under_its_own_name() -> None:
    table = scale_table().replace({"optimizer": {"adam": "signsgd"}})
    for panel in panels(accuracy_by_scale(table, "title")):
        drawn = panel.get_lines()[1]
        assert str(drawn.get_label()).startswith("signsgd")
        assert drawn.get_color() not in {look.colour for look in style.OPTIMIZERS.values()}


def test_recipes_of_one_optimizer_are_named_by_their_settings_beside_the_panel() -> None:
    table = pd.concat(
        [
            scale_table().query("batch_size == 16 and optimizer == 'sgd'").assign(recipe=f"η={i}")
            for i in range(6)
        ]
    )
    (panel,) = panels(accuracy_by_scale(table, "title"))
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert [name.split()[0] for name in names] == [f"η={i}" for i in range(6)]
    assert panel.get_legend().get_bbox_to_anchor().x0 >= panel.bbox.x1
