"""Names written beside points where there is room, so that a legend need not repeat them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from matplotlib.typing import ColorType
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GAP = 9.0  # between a point and its name, in points; where that is too near, twice as much
# Where a name may stand: its side of the point, and how its text is aligned there.
PLACES = (
    (0, 1, "center", "bottom"),
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (1, 1, "left", "bottom"),
    (-1, 1, "right", "bottom"),
    (0, -1, "center", "top"),
    (1, -1, "left", "top"),
    (-1, -1, "right", "top"),
)


class Labels:
    """The names in one panel, and what they must not cover.

    Parameters
    ----------
    panel
        With its limits set, in a figure that has been laid out once.
    taken
        Boxes in pixels that are taken from the start, such as those of other texts.
    """

    def __init__(self, panel: Axes, taken: Sequence[Bbox] = ()) -> None:
        self.panel, self.taken = panel, list(taken)
        figure = panel.get_figure(root=True)
        assert figure is not None
        self.renderer: RendererAgg = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        self.scale = figure.dpi / 72

    def avoid(self, x: Floats, low: Floats, high: Floats, half_width: float) -> None:
        """Keep free what stands at x from low to high, in data, so many points to both sides."""
        half = half_width * self.scale
        bottoms = self.panel.transData.transform(np.column_stack([x, low]))
        tops = self.panel.transData.transform(np.column_stack([x, high]))
        for (left, bottom), (_, top) in zip(bottoms, tops, strict=True):
            self.taken.append(
                Bbox.from_extents(left - half, bottom - half, left + half, top + half)
            )

    def write(self, text: str, x: Floats, y: Floats, colour: ColorType, size: float) -> bool:
        """Write a name beside one of its points, the first with room; False if there is none.

        Parameters
        ----------
        x, y
            Its points in data, the best first.
        """
        label = self.panel.annotate(
            text,
            (0, 0),
            xytext=(0, 0),
            textcoords="offset points",
            color=colour,
            fontsize=size,
            fontweight="bold",
            zorder=5,
        )
        label.set_in_layout(False)
        inside = self.panel.get_window_extent(self.renderer)
        for _ in self._places(label, x, y):
            box = label.get_window_extent(self.renderer)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1
            if within and box.y0 >= inside.y0 and not any(box.overlaps(one) for one in self.taken):
                self.taken.append(box.padded(GAP / 2 * self.scale))
                return True
        label.remove()
        return False

    @staticmethod
    def _places(label: Annotation, x: Floats, y: Floats) -> Iterator[None]:
        """Move the name from one place to the next."""
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        for gap, place, point in product((GAP, 2 * GAP), PLACES, points):
            right, up, horizontal, vertical = place
            label.xy = point
            label.set_position((gap * right, gap * up))
            label.set(ha=horizontal, va=vertical)
            yield
