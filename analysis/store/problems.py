"""What is not as it should be in a store: it is reported, never repaired without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.store.backend import RawRun
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS

EXAMPLES = 3  # of each kind that the summary names


@dataclass(frozen=True)
class Problems:
    """What is not as it should be; each a frame with one row per run or point.

    Attributes
    ----------
    missing
        Points of the experiment without a finished run: fingerprint, run_name and the axes.
        Empty if the experiment is not one of `suite.declarations.experiments`.
    unfinished
        Runs that did not end as FINISHED: run_id, fingerprint, run_name, status, last_epoch (0
        if it logged none), finished_elsewhere (whether another run of the configuration did).
    duplicates
        Finished runs beside the one of their configuration that counts, the one whose training was
        asked for last; none of their numbers is in the store's frames: run_id, fingerprint,
        run_name, start_time, kept_run_id.
    incomplete
        Finished runs whose history has holes, which are in the frames: run_id, fingerprint,
        run_name, missing_epochs (how many), epochs (which, such as "2, 5-7").
    unreadable
        Finished runs that are left out, as their settings cannot be read: run_id, fingerprint,
        run_name, reason.
    points
        Number of points of the experiment; 0 if it is not one of `suite.declarations.experiments`.
    other_runs
        Number of finished runs in the frames that are no point of the experiment as declared,
        because its settings were changed on the command line.
    """

    missing: pd.DataFrame
    unfinished: pd.DataFrame
    duplicates: pd.DataFrame
    incomplete: pd.DataFrame
    unreadable: pd.DataFrame
    points: int = 0
    other_runs: int = 0

    def __bool__(self) -> bool:
        """Whether there is any problem."""
        return any(len(frame) for frame, _, _ in self._parts())

    def __str__(self) -> str:
        """How many there are of each kind, with some examples."""
        lines = [line for part in self._parts() for line in _lines(*part)]
        if self.other_runs:
            lines.append(f"runs that are no point of the experiment as declared: {self.other_runs}")
        return "\n".join(lines) or "no problems: one finished, complete run of each configuration"

    def _parts(self) -> Iterator[tuple[pd.DataFrame, str, str]]:
        """For each kind: its frame, a heading with room for the number, and a row as text."""
        of = f" of {self.points}" if self.points else ""
        yield self.missing, f"points without a finished run: {{}}{of}", "{run_name}"
        yield self.unfinished, "unfinished runs: {}", "{run_name} ({status} at epoch {last_epoch})"
        yield (
            self.duplicates,
            "finished runs set aside for another one of the same configuration: {}",
            "{run_name} ({run_id})",
        )
        yield (
            self.incomplete,
            "finished runs with holes in their history: {}",
            "{run_name} (epochs {epochs})",
        )
        yield self.unreadable, "runs left out: {}", "{run_name} ({reason})"


def _lines(frame: pd.DataFrame, heading: str, pattern: str) -> Iterator[str]:
    if frame.empty:
        return
    yield heading.format(len(frame))
    for row in frame.head(EXAMPLES).to_dict("records"):
        yield "  " + pattern.format_map({str(name): value for name, value in row.items()})
    if len(frame) > EXAMPLES:
        yield f"  and {len(frame) - EXAMPLES} more"


def unfinished(runs: Iterable[RawRun], finished: Iterable[str]) -> pd.DataFrame:
    """The runs whose status is not FINISHED; `finished` are the fingerprints that are done."""
    done = set(finished)
    rows = [
        (run.run_id, run.fingerprint, run.name, run.status, run.last_epoch, run.fingerprint in done)
        for run in runs
        if run.status != "FINISHED"
    ]
    names = ("run_id", "fingerprint", "run_name", "status", "last_epoch", "finished_elsewhere")
    return pd.DataFrame(rows, columns=names)


def duplicates(pairs: Iterable[tuple[RawRun, RawRun]]) -> pd.DataFrame:
    """The first of pairs (other, counting) of finished runs of one configuration."""
    rows = [
        (other.run_id, other.fingerprint, other.name, other.start_time, counting.run_id)
        for other, counting in pairs
    ]
    names = ("run_id", "fingerprint", "run_name", "start_time", "kept_run_id")
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(start_time=pd.to_datetime(frame["start_time"], unit="ms"))


def incomplete(missing: Iterable[tuple[RawRun, Sequence[int]]]) -> pd.DataFrame:
    """Runs with the epochs which they lack; those which lack none are passed over."""
    rows = [
        (run.run_id, run.fingerprint, run.name, len(epochs), _spans(epochs))
        for run, epochs in missing
        if epochs
    ]
    names = ("run_id", "fingerprint", "run_name", "missing_epochs", "epochs")
    return pd.DataFrame(rows, columns=names)


def unreadable(reasons: Iterable[tuple[RawRun, str]]) -> pd.DataFrame:
    """Runs with the reason why their settings cannot be read."""
    rows = [(run.run_id, run.fingerprint, run.name, reason) for run, reason in reasons]
    return pd.DataFrame(rows, columns=("run_id", "fingerprint", "run_name", "reason"))


def missing_points(
    experiment: str, finished: Mapping[str, Mapping[str, Any]]
) -> tuple[pd.DataFrame, int]:
    """The experiment's points without a finished run, and the number of its points.

    Parameters
    ----------
    experiment
        Any name; nothing is missing where it is not one of `suite.declarations.experiments`.
    finished
        Fingerprint to settings of the finished runs.

    Returns
    -------
    tuple
        Their frame, and the number of all points.
    """
    if experiment not in EXPERIMENTS:
        return pd.DataFrame(columns=["fingerprint", "run_name"]), 0
    declared = EXPERIMENTS[experiment]
    defaults = {name: RunConfig.default(name) for name in RunConfig.names()}
    # Equal settings have equal fingerprints, and comparing settings takes a fiftieth of the time.
    done = {tuple(settings[name] for name in defaults) for settings in finished.values()}
    rows = []
    for point in declared.points():
        if tuple((defaults | declared.settings(point)).values()) in done:
            continue
        config = declared.config(point)
        if config.fingerprint not in finished:
            rows.append({"fingerprint": config.fingerprint, "run_name": config.run_name, **point})
    names = ["fingerprint", "run_name", *declared.axes]
    return pd.DataFrame(rows, columns=names), declared.size


def _spans(epochs: Sequence[int]) -> str:
    """Ascending numbers as text: "2, 5-7"."""
    spans: list[tuple[int, int]] = []
    for epoch in epochs:
        if spans and epoch == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], epoch)
        else:
            spans.append((epoch, epoch))
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in spans)
