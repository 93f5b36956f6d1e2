"""What a run has come to: one type from the engine that trains it to the study that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EpochRecord


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
    """

    config: RunConfig
    history: Sequence[EpochRecord]
    summary: Mapping[str, float]
    diverged: bool

    def to_json(self) -> str:
        """The result as text, from which :meth:`from_json` makes it again."""
        return json.dumps(
            {
                "config": self.config.model_dump(),
                "history": [asdict(record) for record in self.history],
                "summary": dict(self.summary),
                "diverged": self.diverged,
            }
        )

    @staticmethod
    def from_json(text: str) -> RunResult:
        """The result that :meth:`to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If the text is not one.
        """
        content = json.loads(text)
        return RunResult(
            parse(content["config"]),
            [EpochRecord(**record) for record in content["history"]],
            content["summary"],
            content["diverged"],
        )
