"""How each layer of a run moved away from its initial weights: what is measured, when, its text.

A layer is a kernel. At epoch 0, then at two epochs an octave, at τ_best and at the last one, its
Frobenius norm is kept, and its cosine to the initial kernel; how far it went follows from these.
That is one text a run, kept as MLflow tags: as metrics it would be two curves a layer, 24 in the
list of a ResNet-9 and 220 in that of a ResNet-110, where a person looks for six, and a fifth more
rows in a store of 6,250 runs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # NumPy takes longer to import than a command line to be answered
    import numpy as np
    from numpy.typing import NDArray

MOST_LAYERS = 600
PIECE = 5000  # characters of a tag; MLflow takes 8,000, and took 5,000 before
# Enough for so many layers at 30 epochs; MLflow takes 100 tags at once.
LAYERS_TAGS = tuple(f"layers.{number}" for number in range(1, 65))
FIELDS = {"layers", "epochs", "norms", "cosines"}


def is_measured(epoch: int, last: int) -> bool:
    """Whether layers are measured at an epoch: 1, 2, 3, 4, 6, 8, 12, 16, 24, … and the last."""
    octave = 1 << (epoch.bit_length() - 1)
    return epoch in (octave, octave + octave // 2, last)


@dataclass(frozen=True)
class LayerHistory:
    """Norm of each kernel, and cosine to its initial value, in single precision.

    Attributes
    ----------
    layers
        Names of the kernels from the input to the class scores.
    epochs
        When they were measured, ascending; 0 is before the first step.
    norms, cosines
        For each epoch the Frobenius norms, and ⟨W, W₀⟩ / (‖W‖ ‖W₀‖); the cosine is NaN where a
        kernel is 0.
    """

    layers: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    norms: tuple[tuple[float, ...], ...] = ()
    cosines: tuple[tuple[float, ...], ...] = ()

    def with_epoch(
        self, epoch: int, norms: Sequence[float], cosines: Sequence[float]
    ) -> LayerHistory:
        """The history with one epoch more, in its place."""
        place = sum(other < epoch for other in self.epochs)
        return LayerHistory(
            self.layers,
            (*self.epochs[:place], epoch, *self.epochs[place:]),
            (*self.norms[:place], _rounded(norms), *self.norms[place:]),
            (*self.cosines[:place], _rounded(cosines), *self.cosines[place:]),
        )

    def to_text(self) -> str:
        """The history as JSON, its numbers as base64 of little-endian float32."""
        content = {
            "layers": self.layers,
            "epochs": self.epochs,
            "norms": _encoded(self.norms),
            "cosines": _encoded(self.cosines),
        }
        return json.dumps(content, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> LayerHistory:
        """The history that :meth:`to_text` wrote.

        Raises
        ------
        ValueError
            If the text is none.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or set(content) != FIELDS:
            raise ValueError(f"layers: must have {sorted(FIELDS)}, got {text!r:.80}")
        layers, epochs = content["layers"], content["epochs"]
        if not _is_list_of(layers, str) or len(set(layers)) < len(layers):
            raise ValueError(f"layers: must be names, each once, got {layers!r:.80}")
        if not _is_list_of(epochs, int) or any(a >= b for a, b in pairwise([-1, *epochs])):
            raise ValueError(f"layers: epochs must be ascending from 0 on, got {epochs!r:.80}")
        shape = (len(epochs), len(layers))
        norms, cosines = (_decoded(content[name], shape) for name in ("norms", "cosines"))
        return LayerHistory(tuple(layers), tuple(epochs), _tuples(norms), _tuples(cosines))


def layers_tags(history: LayerHistory) -> dict[str, str]:
    """The tags that hold a history, in pieces that MLflow takes."""
    text = history.to_text()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return dict(zip(LAYERS_TAGS[: len(pieces)], pieces, strict=True))


def layers_of(tags: Mapping[str, str]) -> LayerHistory | None:
    """The history in a run's tags; None if it was trained before there was one.

    Raises
    ------
    ValueError
        If they hold no whole one.
    """
    text = "".join(tags[name] for name in LAYERS_TAGS if name in tags)
    return LayerHistory.from_text(text) if text else None


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    import numpy as np

    with np.errstate(over="ignore"):  # a run that diverges
        return tuple(np.asarray(values, dtype=np.float64).astype(np.float32).tolist())


def _encoded(rows: Sequence[Sequence[float]]) -> str:
    import numpy as np

    return base64.b64encode(np.asarray(rows, dtype="<f4").tobytes()).decode()


def _decoded(text: object, shape: tuple[int, int]) -> NDArray[np.float32]:
    import numpy as np

    if not isinstance(text, str):
        raise ValueError(f"layers: numbers must be base64, got {text!r:.80}")
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    if values.size != shape[0] * shape[1]:
        raise ValueError(f"layers: must have {shape[0] * shape[1]} numbers, got {values.size}")
    return values.reshape(shape)


def _tuples(rows: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in rows.tolist())


def _is_list_of(content: object, kind: type) -> bool:
    return isinstance(content, list) and all(type(value) is kind for value in content)
