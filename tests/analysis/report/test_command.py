"""The command, from a store to its files, its words and its run in MLflow."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.projects.utils import load_project
from mlflow_stores import Store
from report_pages import claims, exhibit, figure
from store_helpers import CONFIGS, write

import analysis.claims.command
import analysis.exhibits.catalogue
from analysis import phase_diagram
from analysis.exhibits.catalogue import Exhibit
from analysis.output import OutputFolder
from analysis.report import command as report
from analysis.report.findings import findings, memories, memory_metrics
from analysis.store.frames import Store as Runs
from analysis.store.frames import load

ROOT = Path(__file__).parents[3]
FEW = CONFIGS[:6]  # SGD at three σw, two seeds each
STEMS = ("figure-2", "table-2", "phase-diagram-plane")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def plane(store: Store) -> Store:
    """A store with six runs in the experiment `plane`."""
    write(store.uri, FEW, experiment="plane")
    return store


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Three exhibits and one that cannot be made; the experiments of each report."""
    asked: list[Sequence[str]] = []

    def exhibits(stores: Mapping[str, Runs], *, seed: int = 0) -> Iterator[Exhibit]:
        asked.append(list(stores))
        yield exhibit("figure-2", place="Figure 2", figure=figure())
        yield exhibit("figure-4", place="Figure 4", table=None, missing="python -m suite.grid …")
        yield exhibit()
        yield exhibit("phase-diagram", place="", experiment="plane", figure=figure(), table=None)

    monkeypatch.setattr(analysis.exhibits.catalogue, "exhibits", exhibits)
    monkeypatch.setattr(analysis.claims.command, "judge", lambda *_, **__: claims())
    return asked


def run(uri: str, out: Path, *more: str) -> int:
    return report.main(["--tracking-uri", uri, "--out", str(out), *more])


def test_every_exhibit_is_written_in_every_format(
    plane: Store, few: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(plane.uri, out, "--no-log") == 0
    figures = {f"{stem}.{kind}" for stem in (STEMS[0], STEMS[2]) for kind in ("png", "svg", "pdf")}
    assert {path.name for path in (out / "figures").iterdir()} == figures
    named = ("figure-2", "table-2", "claims")
    tables = {f"{stem}.{kind}" for stem in named for kind in ("csv", "md", "tex")}
    assert {path.name for path in (out / "tables").iterdir()} == tables
    said = capsys.readouterr().out.splitlines()
    assert said.pop(4).startswith(
        "of 4 verdicts on training 0.1 are to be expected wrong by chance"
    )
    assert said[:6] == [
        "experiment plane: 6 finished runs",
        "4 claims on training, at full scale: 2 reproduced, 1 contradicted, 1 undetermined",
        "0 claims of arithmetic: 0 reproduced, 0 contradicted, 0 undetermined",
        "2 claims at reduced scale: 1 holds, 0 reversed, 1 open",
        f"made: {', '.join(STEMS)}",
        "not made: Figure 4: Memory of the recipes: python -m suite.grid …",
    ]
    assert said[6].startswith(f"wrote {out / 'report.html'} (")
    assert said[6].endswith("and 15 files beside it")


def test_the_report_says_what_it_is_made_from(plane: Store, few: object, tmp_path: Path) -> None:
    assert run(plane.uri, tmp_path / "out", "--no-log", "--format", "svg") == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<dd>plane (6)</dd>" in page
    assert f"<dd>{plane.uri}</dd>" in page
    (finding,) = findings(memories({"plane": load("plane", plane.uri)}))
    assert finding in page


def test_all_of_it_is_logged_as_an_analysis(plane: Store, few: object, tmp_path: Path) -> None:
    assert run(plane.uri, tmp_path / "out", "--format", "svg") == 0
    client = MlflowClient(plane.uri)
    experiment = client.get_experiment_by_name("analysis")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["analysed_experiments"] == "plane"
    assert logged.data.metrics["claims_reproduced"] == 2
    assert logged.data.metrics["claims_reduced_holds"] == 1
    assert logged.data.metrics["exhibits_missing"] == 1
    tables = memories({"plane": load("plane", plane.uri)})
    assert memory_metrics(tables).items() <= logged.data.metrics.items()
    for folder in ("", "figures", "tables"):
        written = {path.name for path in (tmp_path / "out" / folder).iterdir()}
        kept = client.list_artifacts(logged.info.run_id, folder or None)
        assert {Path(item.path).name for item in kept} == written


def test_by_default_it_covers_the_papers_experiments_and_the_newest(
    plane: Store, few: list[Sequence[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(plane.uri, FEW, experiment="depth")
    write(plane.uri, FEW[:2], experiment="mine")
    write(plane.uri, FEW[:2], experiment="newest")
    client = MlflowClient(plane.uri)
    client.create_experiment("long")
    assert run(plane.uri, tmp_path / "out", "--format", "svg") == 0
    assert few == [["depth", "newest"]]
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("left out: experiment: 'long' holds no run")]
    assert run(plane.uri, tmp_path / "again", "--format", "svg", "--no-log") == 0
    assert few[1] == ["depth", "newest"]  # and not the analysis


def test_it_covers_the_experiments_that_are_named(
    plane: Store, few: list[Sequence[str]], tmp_path: Path
) -> None:
    write(plane.uri, FEW[:2], experiment="mine")
    assert run(plane.uri, tmp_path, "--no-log", "--experiment", "mine, plane,mine") == 0
    assert few == [["mine", "plane"]]


def test_a_store_that_cannot_be_written_still_gets_its_report(
    plane: Store, few: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plane.path.parent / "mlruns").write_text("a file where the folder should be")
    assert run(plane.uri, tmp_path / "out", "--format", "svg") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not logged to MLflow: ")
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "tracking_uri: holds no run of this suite"),
        (["--experiment", "maim"], "experiment: is not in"),
        (["--format", "gif"], "format: must be of png, svg, pdf, got 'gif'"),
        (["--formt", "svg"], "formt: is no setting, got 'svg'; did you mean format?"),
    ],
)
def test_what_cannot_be_reported_on_is_told_in_one_line(
    store: Store,
    tmp_path: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(store.uri, tmp_path / "out", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")
    assert not (tmp_path / "out").exists()


def test_a_store_that_is_not_there_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: tracking_uri: ")


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run("sqlite:////nowhere.db", tmp_path / "file" / "below") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: must be a folder that can be written, got ")


def test_findings_name_the_largest_and_the_smallest_memory_with_intervals(store: Store) -> None:
    write(store.uri, CONFIGS, experiment="plane")
    tables = memories({"plane": load("plane", store.uri)})
    table = tables["plane"].set_index("recipe")
    most, least = table["memory"].idxmax(), table["memory"].idxmin()
    (line,) = findings(tables)
    plain = line.replace("\N{NO-BREAK SPACE}", " ")
    names = {"sgd b64": "SGD b64", "momentum b64": "SGD + momentum b64", "adam b64": "Adam b64"}
    names |= {name.removesuffix(" b64"): long.removesuffix(" b64") for name, long in names.items()}
    for recipe in (most, least):
        row = table.loc[recipe]
        ends = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}; 2 seeds"
        told = f"{names[recipe]} remembers {100 * row['memory']:.1f} pp (95 % interval of the true"
        assert f"{told} memory {ends})" in plain
    assert plain.index(names[most]) < plain.index(f"the smallest of 3 recipes: {names[least]}")


def test_one_scale_has_no_finding_and_says_so(store: Store) -> None:
    write(store.uri, CONFIGS[:2], experiment="plane")
    (line,) = findings(memories({"plane": load("plane", store.uri)}))
    assert line == "plane: no recipe has runs at two σw, so no memory is known"


@pytest.mark.parametrize("command", [phase_diagram, report, analysis.claims.command])
def test_mlflow_run_gives_the_command_its_own_defaults(command: object, tmp_path: Path) -> None:
    name = command.__name__.removeprefix("analysis.").removesuffix(".command")
    entry = load_project(str(ROOT)).get_entry_point(name)
    words = shlex.split(entry.compute_command({}, str(tmp_path)))
    assert words[:3] == ["python", "-m", f"analysis.{name}"]
    given = command.parser().parse_args(words[3:])
    assert given == command.parser().parse_args([])


@pytest.mark.parametrize(("longest", "endings"), [(6, {".csv", ".md", ".tex"}), (5, {".csv"})])
def test_a_long_table_is_written_as_data_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int, endings: set[str]
) -> None:
    monkeypatch.setattr(report, "LONGEST_TYPESET", longest)
    table = pd.DataFrame({"optimizer": ["sgd"] * 6, "memory": range(6)})
    shown = report._written(exhibit(table=table), OutputFolder(tmp_path, ("png",)))
    files = list((tmp_path / "tables").iterdir())
    assert {file.suffix for file in files} == endings
    assert len(pd.read_csv(next(file for file in files if file.suffix == ".csv"))) == 6
    assert shown is not None
