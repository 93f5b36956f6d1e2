"""The command that exports: what it writes, and what it leaves alone."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from store_helpers import CONFIGS, FAULTS, empty_store, write

from analysis import phase_diagram
from analysis.claims import command as claims
from analysis.exhibits import catalogue
from analysis.export import main
from analysis.report import command as report
from analysis.store import exported_files
from analysis.store.frames import load


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    uri = empty_store(tmp_path)
    write(uri, CONFIGS, faults=FAULTS, experiment="demo")
    write(uri, CONFIGS[:4], experiment="few")
    return uri


def run(uri: str, out: Path, *more: str) -> int:
    return main(["--tracking-uri", uri, "--out", str(out), *more])


def file_of(uri: str) -> str:
    """Folders of this machine say nothing on another."""
    return uri.rsplit("/", 1)[-1]


def the_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_it_says_what_it_wrote_and_what_it_left_out(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(uri, tmp_path / "out", "--experiment", "demo,few", "--thin") == 0
    first, left_out, thinned, second, _ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"wrote {tmp_path}/out/demo: 25 runs, \d+ epochs, \d+\.\d kB", first)
    assert left_out == "runs left out: 3 unfinished, 2 replaced by a newer run"
    assert thinned.startswith("histories thinned: val_accuracy whole")
    assert second.startswith(f"wrote {tmp_path}/out/few: 4 runs, 24 epochs, ")


def test_layers_are_left_out_where_that_is_asked_for(uri: str, tmp_path: Path) -> None:
    assert run(uri, tmp_path / "out") == 0
    assert run(uri, tmp_path / "small", "--without-layers") == 0
    with_them, without = (load("few", str(tmp_path / name)) for name in ("out", "small"))
    assert len(with_them.layers)
    assert without.layers.empty
    pd.testing.assert_frame_equal(with_them.runs, without.runs)


def test_the_newest_experiment_is_exported_where_none_is_named(uri: str, tmp_path: Path) -> None:
    assert run(uri, tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["few"]


def test_an_export_is_exchanged_as_a_whole_and_others_stay(uri: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(uri, out, "--experiment", "demo,few") == 0
    (out / "few" / "history.parquet").write_bytes(b"damaged")
    before = (out / "demo" / "runs.parquet").read_bytes()
    (out / "README.md").write_text("what these are")
    assert run(uri, out, "--experiment", "few") == 0
    assert load("few", str(out)).runs["run_id"].tolist() == load("few", uri).runs["run_id"].tolist()
    assert (out / "demo" / "runs.parquet").read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "demo", "few"]


def test_an_export_that_fails_leaves_the_older_one_and_nothing_half(
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(uri, out) == 0
    before = (out / "few" / "history.parquet").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exported_files, "_history_table", full)
    capsys.readouterr()
    assert run(uri, out) == 2
    assert "(No space left on device); name another" in the_line(capsys)
    assert [path.name for path in out.iterdir()] == ["few"]
    assert (out / "few" / "history.parquet").read_bytes() == before


def test_a_folder_that_holds_something_else_is_left_alone(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("")
    assert run(uri, other) == 2
    assert "must be empty or hold exported experiments, got" in the_line(capsys)
    assert run(uri, tmp_path / "out", "--experiment", "demo") == 0
    (tmp_path / "out" / "few").mkdir()
    (tmp_path / "out" / "few" / "thesis.tex").write_text("")
    foreign = tmp_path / "out" / "few" / "runs.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(foreign)
    for _ in range(2):
        capsys.readouterr()
        assert run(uri, tmp_path / "out", "--experiment", "few") == 2
        assert "must have room for the folder few" in the_line(capsys)
        (tmp_path / "out" / "few" / "thesis.tex").unlink(missing_ok=True)
    assert foreign.exists()
    assert run(uri, tmp_path / "out" / "demo") == 2
    assert "which is one of them; give" in the_line(capsys)
    assert run(uri, foreign) == 2
    assert "is no folder that can be written" in the_line(capsys)


def test_one_experiment_that_cannot_be_exported_keeps_all_from_being_written(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(uri, tmp_path / "out", "--experiment", "few,maim") == 2
    assert "experiment: is not in" in the_line(capsys)
    assert run(uri, tmp_path / "out", "--experiment", "paper") == 2
    assert "stands for main, long, " in the_line(capsys)
    assert not (tmp_path / "out").exists()


def test_what_is_exported_already_is_not_exported_again(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(uri, tmp_path / "out") == 0
    assert run(str(tmp_path / "out"), tmp_path / "again") == 2
    assert "which is exported already; copy its folders" in the_line(capsys)


@pytest.mark.parametrize("thin", [(), ("--thin",)])
def test_every_command_reads_an_export_and_says_that_it_is_one(
    thin: tuple[str, ...], uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert run(uri, Path(out), "--experiment", "few", *thin) == 0
    for command in (phase_diagram, claims):
        words = ["--tracking-uri", out, "--experiment", "few"]
        if command is phase_diagram:
            words += ["--out", str(tmp_path / "figures"), "--format", "svg"]
        capsys.readouterr()
        assert command.main(words) == 0
        said, complaints = capsys.readouterr()
        line = next(line for line in said.splitlines() if line.startswith("exported from "))
        assert line.startswith(f"exported from {file_of(uri)} on ")
        assert ("histories thinned" in line) == bool(thin)
        assert ("holds exported runs, and is no MLflow" in complaints) == (command is not claims)
    assert not list(Path(out).glob("mlruns"))


def test_the_report_says_that_its_runs_are_exported(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "exhibits", lambda _: iter(()))  # which take their time
    assert run(uri, tmp_path / "out", "--experiment", "few") == 0
    words = ["--tracking-uri", str(tmp_path / "out"), "--out", str(tmp_path / "report")]
    assert report.main([*words, "--format", "svg", "--no-log"]) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert f"exported from {file_of(uri)} on " in text
