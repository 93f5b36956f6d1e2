"""What a worker tells, as lines of a file which a sweep on another machine follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from suite.declarations.stored import MALFORMED, reason
from suite.worker.messages import Event, FleetEpoch, FleetStart, Uploaded


class EventLog:
    """The file to which one worker writes.

    Parameters
    ----------
    path
        The file; lines are added to what is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, event: Event) -> None:
        """Add an event."""
        line = json.dumps({"kind": event.kind, "content": _plain(event.content)})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


class EventTail:
    """Follows such a file.

    Parameters
    ----------
    path
        The file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def new(self) -> list[Event]:
        """The events since the last time; results of runs are left to MLflow."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]  # the last line may be half there
        self._read += len(whole)
        return [self._read_line(line) for line in whole.splitlines()]

    def _read_line(self, line: bytes) -> Event:
        try:
            return _event(json.loads(line))
        except MALFORMED as error:  # a machine that lost its power leaves zeros in its files
            why = f"a line of {self._path} cannot be read ({reason(error)})"
            return Event("notice", f"{why}; MLflow has what its worker trained")

    def summary(self) -> Iterator[Event]:
        """Where the worker stands, for a sweep that begins to follow it now."""
        start: FleetStart | None = None
        end: Event | None = None
        for event in self.new():
            end = event if event.kind == "end" else None
            if event.kind == "fleet":
                start = event.content
            elif event.kind == "epoch" and start is not None:
                start = replace(start, epoch=event.content.epoch)
            elif event.kind in ("idle", "end"):
                start = None
            elif event.kind == "failed":
                yield event
        if start is not None:
            yield Event("fleet", start)
        if end is not None:
            yield end


def _plain(content: Any) -> Any:
    """An event's content as JSON has it."""
    if isinstance(content, Uploaded):
        return content.result.config.fingerprint
    if isinstance(content, FleetStart | FleetEpoch):
        return asdict(content)
    return sorted(content) if isinstance(content, frozenset) else content


def _event(line: dict[str, Any]) -> Event:
    kind, content = line["kind"], line["content"]
    if kind == "finished":  # its results are in MLflow, from where the scoreboard takes them
        return Event("elsewhere", frozenset([content]))
    if kind == "elsewhere":
        return Event(kind, frozenset(content))
    if kind in ("fleet", "epoch"):
        content |= {name: tuple(v) for name, v in content.items() if isinstance(v, list)}
        return Event(kind, FleetStart(**content) if kind == "fleet" else FleetEpoch(**content))
    return Event(kind, tuple(content) if kind == "failed" else content)
