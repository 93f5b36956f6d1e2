"""Make every figure and table that a store supports, and one HTML report of them all.

The report covers the paper's experiments as far as the store holds them, and the one in which the
suite began a run last. What was made is logged to the same store, as a run of the experiment
`analysis`; where that fails the files are there all the same, one line says so, and the exit code
stays 0.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from analysis.chosen_experiments import ChosenExperiments, add_store_options, choose, newest
from analysis.chosen_perturbation import add_perturbation_option
from analysis.output import OutputFolder, add_output_options, file_stem, formats_of
from analysis.store.backend import Backend
from analysis.store.frames import StoreError
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.code_version import code_version
from suite.basics.settings import ConfigError
from suite.declarations.experiments import EXPERIMENTS

if TYPE_CHECKING:
    import pandas as pd

    from analysis.exhibits.catalogue import Exhibit
    from analysis.report.page import Page, Shown

FLAGS = ("experiment", "tracking_uri", "perturbation", "out", "format", "no_log")
REPORT, FIGURES, TABLES = "report.html", "figures", "tables"
LONGEST_TYPESET = 500  # rows of a table: ten pages; LaTeX takes seconds for more


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m analysis.report", description=__doc__, allow_abbrev=False)
    add_store_options(made, "the paper's that are in the store, and the newest")
    add_perturbation_option(made)
    add_output_options(made, "report", "png,svg,pdf")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 2 where there is nothing to report on."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        folder = OutputFolder(Path(arguments.out), formats_of(arguments.format))
        folder.check()
        chosen = choose(
            arguments.experiment, arguments.tracking_uri, _reported, arguments.perturbation
        )
        chosen.require_runs()
        metrics = make(chosen, folder)
        if not arguments.no_log:
            _log(chosen, folder, metrics)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def _reported(backend: Backend) -> list[str]:
    """The paper's experiments that are in the store, and the newest of all."""
    known, (last,) = backend.experiments(), newest(backend)
    return [*(name for name in EXPERIMENTS if name in known and name != last), last]


def make(chosen: ChosenExperiments, folder: OutputFolder) -> dict[str, float]:
    """Write all files, say what was made and what was not; the numbers that sum it up."""
    from analysis.claims.command import judge
    from analysis.claims.perturbations import unjudged_line
    from analysis.exhibits.catalogue import exhibits
    from analysis.figures import style
    from analysis.report import findings as report_findings
    from analysis.report.page import Missing, Page, RunsText, heading, render

    style.apply()
    for line in chosen.lines():
        print(line)
    shown, missing = [], []
    for exhibit in exhibits(chosen.stores):
        if exhibit.missing:
            missing.append(Missing(heading(exhibit), exhibit.missing))
        else:
            shown.append(_written(exhibit, folder))
    claims = judge(chosen.stores)
    claims_files = _claims_texts(claims)
    folder.texts("claims", claims_files, TABLES)
    memories = report_findings.memories(chosen.stores)
    perturbations = {name: store.perturbation for name, store in chosen.stores.items()}
    unjudged = unjudged_line(perturbations)
    page = Page(
        title="How long training remembers its initialization",
        facts=_facts(chosen),
        findings=[
            *report_findings.findings(memories, perturbations),
            *([unjudged] if unjudged else []),
        ],
        claims=claims,
        claims_files=claims_files,
        exhibits=shown,
        missing=missing,
        runs=[
            RunsText(name, "\n".join(filter(None, (store.origin, str(store.problems)))))
            for name, store in chosen.stores.items()
        ],
    )
    path = folder.text(REPORT, render(page))
    _say(page, folder, path)
    return {
        "exhibits_made": len(shown),
        "exhibits_missing": len(missing),
        **_claims_metrics(claims),
        **report_findings.memory_metrics(memories),
    }


def _claims_metrics(claims: pd.DataFrame) -> dict[str, int]:
    """Verdicts of all claims, of arithmetic alone, and at reduced scale."""
    from analysis.claims.frame import is_arithmetic
    from analysis.claims.text import judged_reduced

    parts = {
        "claims": claims["verdict"],
        "claims_arithmetic": claims.loc[is_arithmetic(claims), "verdict"],
        "claims_reduced": judged_reduced(claims)["reduced"],
    }
    return {
        f"{name}_{verdict}": int(count)
        for name, verdicts in parts.items()
        for verdict, count in verdicts.value_counts().items()
    }


def _written(exhibit: Exhibit, folder: OutputFolder) -> Shown:
    """Write an exhibit's files; it as the report shows it."""
    from analysis.report.page import show

    stem, files = stem_of(exhibit), list[Path]()
    if exhibit.figure is not None:
        files = folder.figure(stem, exhibit.figure, FIGURES)
    texts = {} if exhibit.table is None else _texts(exhibit.table, exhibit.title, stem)
    folder.texts(stem, texts, TABLES)
    return show(exhibit, texts, stem, files)


def stem_of(exhibit: Exhibit) -> str:
    """The name of its files: what is the paper's has one, ours one for each experiment."""
    return exhibit.name if exhibit.place else file_stem(f"{exhibit.name}-{exhibit.experiment}")


def _texts(frame: pd.DataFrame, caption: str, label: str) -> dict[str, str]:
    """The frame as text, by the ending of its file: long ones as CSV alone."""
    from analysis import tables

    data = {"csv": tables.csv(frame)}
    if len(frame) > LONGEST_TYPESET:
        return data
    return data | {
        "md": tables.markdown(frame),
        "tex": tables.latex(frame, caption=caption, label=label),
    }


def _claims_texts(claims: pd.DataFrame) -> dict[str, str]:
    from analysis import tables
    from analysis.claims import text as claim_text

    # LaTeX has the place of a page: without ids, experiments and reasons, the interval in one cell.
    columns = {name: name for name in ("place", "statement", "paper", "ours")}
    columns |= {"low": "ours low", "high": "ours high", "unit": "unit", "verdict": "verdict"}
    columns |= {"reduced": "reduced", "reduced_ours": "there"}
    columns |= {"reduced_low": "there low", "reduced_high": "there high"}
    short = claims[list(columns)].rename(columns=columns)
    return {
        "csv": claims.to_csv(index=False, lineterminator="\n"),
        "md": claim_text.markdown(claims),
        "tex": tables.latex(short, caption="Claims of the paper", label="claims"),
    }


def _facts(chosen: ChosenExperiments) -> list[tuple[str, str]]:
    starts = [store.runs["start_time"].min() for store in chosen.stores.values()]
    ends = [store.runs["end_time"].max() for store in chosen.stores.values()]
    return [
        ("Experiments", ", ".join(f"{n} ({len(s.runs):,})" for n, s in chosen.stores.items())),
        ("Runs", f"{chosen.runs:,}, from {min(starts):%Y-%m-%d} to {max(ends):%Y-%m-%d}"),
        ("Trained by", _trained_by(chosen)),
        ("Made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("Made by", f"code version {code_version()}"),
        ("Store", chosen.address),
    ]


def _trained_by(chosen: ChosenExperiments) -> str:
    """The versions of the code in the runs, and how many have each, the commonest first."""
    counts = Counter(
        version for store in chosen.stores.values() for version in store.runs["code_version"]
    )
    named = (f"{version or 'unknown'} ({n:,})" for version, n in counts.most_common())
    return f"code version {', '.join(named)}"


def _say(page: Page, folder: OutputFolder, path: Path) -> None:
    from analysis.claims import text as claim_text

    print(claim_text.totals(page.claims))
    print("made: " + (", ".join(shown.anchor for shown in page.exhibits) or "no exhibit"))
    for item in page.missing:
        print(f"not made: {item.heading}: {item.reason}")
    files = sum(len(paths) for paths in folder.files.values())
    print(f"wrote {path} ({decimal(path.stat().st_size)}), and {files - 1} files beside it")


def _log(chosen: ChosenExperiments, folder: OutputFolder, metrics: Mapping[str, float]) -> None:
    """Log all to the store, and say where, or why not."""
    from analysis.tracked import logged

    logged(
        "report",
        chosen.uri,
        experiments=list(chosen.stores),
        runs=chosen.runs,
        metrics=metrics,
        files=folder.files,
        perturbed=chosen.perturbed,
    )
