"""What a run has come to: one type from the engine that trains it to the study that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.declarations.config import RunConfig
from suite.declarations.layers import LayerHistory
from suite.declarations.metrics import EpochRecord
from suite.declarations.stored import (
    digest_of,
    read_config,
    read_history,
    require_digest,
    table,
)

DIGEST = "digest"


@dataclass(frozen=True)
class RunResult:
    """A run at its end.

    Attributes
    ----------
    config
        Its settings, which are its identity.
    history
        All its epochs, in order.
    summary
        The summary metrics of :mod:`suite.declarations.metrics`, by name.
    diverged
        Whether it ended because its loss was not finite any more.
    layers
        How its kernels moved from the initial ones; None where that was not measured.
    """

    config: RunConfig
    history: Sequence[EpochRecord]
    summary: Mapping[str, float]
    diverged: bool
    layers: LayerHistory | None = field(default=None, kw_only=True)

    def to_json(self) -> str:
        """The result as text with its digest, from which :meth:`from_json` makes it again."""
        content: dict[str, Any] = {
            "config": self.config.model_dump(),
            "history": [asdict(record) for record in self.history],
            "summary": dict(self.summary),
            "diverged": self.diverged,
        }
        if self.layers is not None:
            content["layers"] = self.layers.to_text()
        return json.dumps({**content, DIGEST: digest_of(content)})

    @staticmethod
    def from_json(text: str) -> RunResult:
        """The result that :meth:`to_json` wrote, by this version or one that wrote no digest yet.

        Raises
        ------
        One of :data:`suite.declarations.stored.MALFORMED`
            If the text is not one, or not what was written.
        """
        content = dict(table(json.loads(text), "result"))
        if DIGEST in content:
            require_digest(content.pop(DIGEST), digest_of(content))
        layers = content.pop("layers", None)  # versions before wrote none
        names = {"config", "history", "summary", "diverged"}
        if set(content) != names:
            raise ValueError(f"result: must have {sorted(names)}, got {sorted(content)}")
        summary = table(content["summary"], "summary")
        for name, value in summary.items():
            if type(value) not in (int, float):
                raise ValueError(f"summary: {name} must be a number, got {value!r:.80}")
        if not isinstance(content["diverged"], bool):
            raise ValueError(f"diverged: must be true or false, got {content['diverged']!r:.80}")
        history = read_history(content["history"])
        return RunResult(
            read_config(content["config"]),
            history,
            summary,
            content["diverged"],
            layers=None if layers is None else LayerHistory.from_text(layers),
        )
