"""Make every figure and table that a store supports, and one HTML report of them all.

The report covers the paper's experiments as far as the store holds them, and the one in which the
suite began a run last. What was made is logged to the same store, as a run of the experiment
`analysis`; where that fails the files are there all the same, one line says so, and the exit code
stays 0.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.phase_diagram import formats_of
from analysis.report.files import ReportFolder, file_stem
from analysis.store.frames import Store, StoreError, load, open_store
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.code_version import code_version
from suite.basics.mlflow_client import default_uri
from suite.basics.settings import ConfigError
from suite.declarations.experiments import EXPERIMENTS

if TYPE_CHECKING:
    import pandas as pd

    from analysis.exhibits.catalogue import Exhibit
    from analysis.report.page import Page, Shown

FLAGS = ("experiment", "tracking_uri", "out", "format", "no_log")
REPORT = "report.html"


@dataclass(frozen=True)
class Source:
    """What a report is made from.

    Attributes
    ----------
    uri
        Of the store, as MLflow takes it.
    address
        The same for people: absolute, without password.
    stores
        Experiment to its runs.
    left_out
        One line for each of the paper's experiments that is in the store without a finished run.
    """

    uri: str
    address: str
    stores: Mapping[str, Store]
    left_out: Sequence[str] = ()


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m analysis.report", description=__doc__, allow_abbrev=False)
    made.add_argument(
        "--experiment",
        default="",
        help="MLflow experiments, with commas between (default the paper's that are in the store, "
        "and the newest)",
    )
    made.add_argument(
        "--tracking-uri", default="", help="MLflow store (default $MLFLOW_TRACKING_URI, mlflow.db)"
    )
    made.add_argument("--out", default="report", help="folder for all files (default report)")
    made.add_argument(
        "--format", default="png,svg,pdf", help="of the figures (default png,svg,pdf)"
    )
    made.add_argument("--no-log", action="store_true", help="log nothing to MLflow")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 2 where there is nothing to report on."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        folder = ReportFolder(Path(arguments.out), formats_of(arguments.format))
        folder.check()
        source = find(arguments.experiment, arguments.tracking_uri)
        metrics = make(source, folder)
        if not arguments.no_log:
            _log(source, folder, metrics)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def find(experiment: str = "", tracking_uri: str = "") -> Source:
    """The experiments that a report is wanted of, with their runs.

    Parameters
    ----------
    experiment
        Names with commas between. Empty takes those of `suite.declarations.experiments` that the
        store holds, and the one in which the suite began a run last.
    tracking_uri
        Empty takes MLflow's own default.

    Raises
    ------
    StoreError
        If the store cannot be read, or holds no finished run of an experiment that was named.
    """
    uri = tracking_uri or default_uri()
    with closing(open_store(uri)) as backend:
        address = backend.address
        known, newest = backend.experiments(), backend.newest()
    names = list(dict.fromkeys(name.strip() for name in experiment.split(",") if name.strip()))
    if names:
        return Source(uri, address, {name: load(name, uri) for name in names})
    # Loading the newest, even "", says in a line what is wrong where there is nothing to load.
    names = [name for name in EXPERIMENTS if name in known and name != newest] + [newest]
    stores: dict[str, Store] = {}
    left_out: list[StoreError] = []
    for name in names:
        try:
            stores[name] = load(name, uri)
        except StoreError as error:
            left_out.append(error)
    if not stores:
        raise left_out[-1]
    return Source(uri, address, stores, [str(error) for error in left_out])


def make(source: Source, folder: ReportFolder) -> dict[str, float]:
    """Write all files, say what was made and what was not; the numbers that sum it up."""
    from analysis.claims.command import judge
    from analysis.exhibits.catalogue import exhibits
    from analysis.figures import style
    from analysis.report import findings as report_findings
    from analysis.report.page import Missing, Page, RunsText, heading, render

    style.apply()
    for name, store in source.stores.items():
        print(f"experiment {name}: {len(store.runs)} finished runs")
    for line in source.left_out:
        print(f"left out: {line}")
    shown, missing = [], []
    for exhibit in exhibits(source.stores):
        if exhibit.missing:
            missing.append(Missing(heading(exhibit), exhibit.missing))
        else:
            shown.append(_written(exhibit, folder))
    claims = judge(source.stores)
    claims_files = _claims_texts(claims)
    folder.texts("claims", claims_files)
    memories = report_findings.memories(source.stores)
    page = Page(
        title="How long training remembers its initialization",
        facts=_facts(source),
        findings=report_findings.findings(memories),
        claims=claims,
        claims_files=claims_files,
        exhibits=shown,
        missing=missing,
        runs=[RunsText(name, str(store.problems)) for name, store in source.stores.items()],
    )
    path = folder.text("", REPORT, render(page))
    _say(page, folder, path)
    counts = claims["verdict"].value_counts()
    return {
        "exhibits_made": len(shown),
        "exhibits_missing": len(missing),
        **{f"claims_{verdict}": int(count) for verdict, count in counts.items()},
        **report_findings.memory_metrics(memories),
    }


def _written(exhibit: Exhibit, folder: ReportFolder) -> Shown:
    """Write an exhibit's files; it as the report shows it."""
    from analysis.report.page import show

    stem = stem_of(exhibit)
    if exhibit.figure is not None:
        folder.figure(stem, exhibit.figure)
    texts = {} if exhibit.table is None else _texts(exhibit.table, exhibit.title, stem)
    folder.texts(stem, texts)
    return show(exhibit, texts, stem)


def stem_of(exhibit: Exhibit) -> str:
    """The name of its files: what is the paper's has one, ours one for each experiment."""
    return exhibit.name if exhibit.place else file_stem(f"{exhibit.name}-{exhibit.experiment}")


def _texts(frame: pd.DataFrame, caption: str, label: str) -> dict[str, str]:
    """The frame as text, by the ending of its file."""
    from analysis import tables

    return {
        "csv": tables.csv(frame),
        "md": tables.markdown(frame),
        "tex": tables.latex(frame, caption=caption, label=label),
    }


def _claims_texts(claims: pd.DataFrame) -> dict[str, str]:
    from analysis import tables
    from analysis.claims import text as claim_text

    # LaTeX has the place of a page: without ids, experiments and reasons, the interval in one cell.
    columns = {name: name for name in ("place", "statement", "paper", "ours")}
    columns |= {"low": "ours low", "high": "ours high", "unit": "unit", "verdict": "verdict"}
    short = claims[list(columns)].rename(columns=columns)
    return {
        "csv": claims.to_csv(index=False, lineterminator="\n"),
        "md": claim_text.markdown(claims),
        "tex": tables.latex(short, caption="Claims of the paper", label="claims"),
    }


def _facts(source: Source) -> list[tuple[str, str]]:
    starts = [store.runs["start_time"].min() for store in source.stores.values()]
    ends = [store.runs["end_time"].max() for store in source.stores.values()]
    runs = sum(len(store.runs) for store in source.stores.values())
    return [
        ("Experiments", ", ".join(f"{n} ({len(s.runs):,})" for n, s in source.stores.items())),
        ("Runs", f"{runs:,}, from {min(starts):%Y-%m-%d} to {max(ends):%Y-%m-%d}"),
        ("Made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("Code version", code_version()),
        ("Store", source.address),
    ]


def _say(page: Page, folder: ReportFolder, path: Path) -> None:
    from analysis.claims import text as claim_text

    print(claim_text.totals(page.claims))
    print("made: " + (", ".join(shown.anchor for shown in page.exhibits) or "no exhibit"))
    for item in page.missing:
        print(f"not made: {item.heading}: {item.reason}")
    files = sum(len(paths) for paths in folder.files.values())
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB), and {files - 1} files beside it")


def _log(source: Source, folder: ReportFolder, metrics: Mapping[str, float]) -> None:
    """Log all to the store, and say where, or why not."""
    from analysis.tracked import logged

    logged(
        "report",
        source.uri,
        experiments=list(source.stores),
        runs=sum(len(store.runs) for store in source.stores.values()),
        metrics=metrics,
        files=folder.files,
    )
