"""How a sweep ended, for its exit code and in words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """How a sweep ended.

    Attributes
    ----------
    text
        What to tell the person who started it.
    failed
        Fingerprint to name and reason of each run that failed.
    broken
        Reasons for which workers stopped before their work was done.
    left
        Number of runs which MLflow does not have as finished.
    going_on
        Where workers go on after the command has left them: what to tell the person of that.
    """

    text: str = ""
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    left: int = 0
    going_on: str = ""

    def lines(self) -> list[str]:
        """What went wrong, a line each."""
        lines = []
        if self.failed:
            lines.append("failed, and left for the next start:")
            rows = self.failed.items()
            lines += [f"  {name} ({fingerprint}): {why}" for fingerprint, (name, why) in rows]
        reasons = list(dict.fromkeys(self.broken))
        lines += [f"error: {reason}" for reason in reasons[:1]]
        if len(reasons) > 1:
            lines.append(f"({len(reasons)} workers stopped for such a reason)")
        return lines


def looking(uri: str) -> str:
    """How to look at what is in a store."""
    return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
