"""The published results: redrawn from the runs in results/, without training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from analysis import results_page
from analysis.results_page import EXPORTS, PAGES, PICTURES, main, pictures_of, redraw, with_tables
from analysis.store.exported_experiment import exports_in
from analysis.store.frames import load
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig, parse
from suite.declarations.experiments import EXPERIMENTS

PUBLISHED = [folder.name for folder in exports_in(EXPORTS)]
LARGEST = 5 * 2**20  # bytes of all exports
TABLE = "| optimizer | b \\| s | spread (pp) [95 %] |\n| :-- | --: | --: |\n"
TABLE += "| SGD | 8 | 5.7 [4.3, 7.0] |\n| Adam \\| W | 8 | – |\n\n- a line below\n"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for folder, name, text in (
        ("tables", "memory-x.md", TABLE),
        ("figures", "figure-1.png", "a picture"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def page(wanted: str, rows: str = "stale\n") -> str:
    return f"above\n<!-- table: {wanted} -->\n{rows}<!-- end -->\nbelow\n"


def test_a_table_is_that_of_the_report_and_the_text_around_it_stays(made: Path) -> None:
    whole = TABLE.split("\n\n")[0] + "\n"
    assert with_tables(page("memory-x"), made) == page("memory-x", whole)
    assert with_tables(page("memory-x", whole), made) == page("memory-x", whole)


def test_columns_are_chosen_and_rows_without_a_value_left_out(made: Path) -> None:
    wanted = "memory-x | spread (pp) [95 %], optimizer | spread (pp) [95 %]"
    rows = "| spread (pp) [95 %] | optimizer |\n| --: | :-- |\n| 5.7 [4.3, 7.0] | SGD |\n"
    assert with_tables(page(wanted), made) == page(wanted, rows)


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("memory-y", "table: must be one of the report's, got 'memory-y'; python -m"),
        ("memory-x | seeds", "table: must have columns of memory-x, .*, got 'seeds'"),
        ("memory-x | optimizer | seeds", "table: must have columns of memory-x, .*, got 'seeds'"),
    ],
)
def test_a_table_or_a_column_that_is_not_there_is_refused(
    made: Path, wanted: str, line: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        with_tables(page(wanted), made)


def test_a_picture_that_is_not_there_is_refused(made: Path) -> None:
    text = "![x](images/results/figure-1.png)"
    assert pictures_of(text, made) == [made / "figures" / "figure-1.png"]
    with pytest.raises(ConfigError, match=r"^picture: must be .*, got figure-2\.png; python -m"):
        pictures_of(text.replace("1", "2"), made)


def test_every_figure_and_table_of_the_published_results_is_redrawn_from_the_exports(
    tmp_path: Path,
) -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES]
    redraw(tmp_path, texts)
    shown = set()
    for text in texts:
        assert with_tables(text, tmp_path) == text
        shown |= {picture.name for picture in pictures_of(text, tmp_path)}
    assert shown == {picture.name for picture in PICTURES.iterdir()}


def test_check_names_the_page_that_differs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "RESULTS.md"
    stale.write_text(page("table-2"), encoding="utf-8")
    monkeypatch.setattr(results_page, "PAGES", (stale,))
    monkeypatch.setattr(results_page, "ROOT", tmp_path)

    def drawn(folder: Path, texts: Sequence[str]) -> None:
        assert texts == [stale.read_text(encoding="utf-8")]
        (folder / "tables").mkdir()
        (folder / "tables" / "table-2.md").write_text(TABLE)

    monkeypatch.setattr(results_page, "redraw", drawn)
    assert main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("RESULTS.md differs from the runs; run python -m")
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_the_runs_on_real_images_are_the_declared_ones_but_for_their_copy_and_their_seeds() -> None:
    runs = load("cifar-small", str(EXPORTS)).runs
    fields = [name for name in runs.columns if name in RunConfig.names()]
    original = {"dataset": "cifar10", "dataset_digest": ""}
    trained = [parse({n: row[n] for n in fields} | original) for row in runs.to_dict("records")]
    declared = EXPERIMENTS["cifar-small"].configs()
    expected = {config.with_(seed=seed).fingerprint for config in declared for seed in (0, 1, 2)}
    assert {config.fingerprint for config in trained} == expected
    assert len(runs) == len(expected) == 60


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"cifar-small"}))
def test_published_runs_are_those_of_a_declared_experiment(name: str) -> None:
    experiment = EXPERIMENTS[name]
    declared = {config.fingerprint for config in experiment.configs()}
    runs = load(name, str(EXPORTS)).runs
    assert set(runs["fingerprint"]) == declared
    assert len(runs) == experiment.size


def test_the_exports_are_small_and_say_nothing_of_the_machine() -> None:
    files = [file for file in EXPORTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= LARGEST
    for name in PUBLISHED:
        assert not re.search(r"/(home|tmp|root|work|Users)/", load(name, str(EXPORTS)).origin or "")
