"""MLproject and conda.yaml say what the code and pyproject.toml say."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from suite import generated_files
from suite.declarations.config import RunConfig
from suite.declarations.experiments import PRESETS
from suite.declarations.machine import Machine
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES
from suite.executors.placement import Placement
from suite.generated_files import PATH, SETTINGS_PATH, main, settings_page, text
from suite.train import parser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return content


def test_the_project_file_is_the_generated_one() -> None:
    remedy = "run `python -m suite.generated_files`"
    assert PATH == ROOT / "MLproject"
    assert PATH.read_text(encoding="utf-8") == text(), remedy


def test_the_settings_page_is_the_generated_one_and_its_tables_are_whole() -> None:
    assert SETTINGS_PATH.read_text(encoding="utf-8") == settings_page()
    tables = re.findall(r"(?:^\|.*\n)+", settings_page(), re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    names = [*RunConfig.names(), *Machine.names(), *Placement.names()]
    names += [*EPOCH_METRIC_NAMES, *SUMMARY_METRIC_NAMES]
    assert re.findall(r"^\| `(\w+)` \|", settings_page(), re.MULTILINE) == names


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The generated files, with another folder as the root of the repository."""
    files = {tmp_path / "MLproject": text, tmp_path / "docs" / "SETTINGS.md": settings_page}
    monkeypatch.setattr(generated_files, "ROOT", tmp_path)
    monkeypatch.setattr(generated_files, "FILES", files)
    return tmp_path


def test_the_command_writes_both_files_and_a_check_of_them_then_passes(elsewhere: Path) -> None:
    assert main([]) == 0
    assert (elsewhere / "MLproject").read_text(encoding="utf-8") == text()
    assert (elsewhere / "docs" / "SETTINGS.md").read_text(encoding="utf-8") == settings_page()
    assert main(["--check"]) == 0


def test_a_check_names_what_differs_or_is_missing_and_writes_nothing(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "MLproject").write_text("name: old\n", encoding="utf-8")
    assert main(["--check"]) == 1
    remedy = "differs from the declarations; run python -m suite.generated_files"
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"MLproject {remedy}", f"docs/SETTINGS.md {remedy}"]
    assert (elsewhere / "MLproject").read_text(encoding="utf-8") == "name: old\n"
    assert not (elsewhere / "docs").exists()


def test_help_is_shown_and_nothing_is_written(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "--check" in capsys.readouterr().out
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("word", ["--chekc", "now"])
def test_a_word_that_is_no_flag_is_answered_in_one_line_and_nothing_is_written(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert main([word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert list(elsewhere.iterdir()) == []


def test_the_environment_holds_the_packages_dependencies() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    (pip,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert sorted(pip) == sorted(package["dependencies"])
    assert environment["name"] == package["name"]
    pythons = [p for p in environment["dependencies"] if str(p).startswith("python")]
    assert [p.split(",")[0] for p in pythons] == [f"python{package['requires-python']}"]


@pytest.mark.parametrize("entry", ["main", "paper"])
def test_every_setting_is_a_parameter_with_its_default(project: dict[str, Any], entry: str) -> None:
    preset = PRESETS[{"main": "demo"}.get(entry, entry)]
    expected = {name: RunConfig.default(name) for name in RunConfig.names()} | dict(preset)
    expected |= {name: Machine.default(name) for name in Machine.names()}
    del expected["dataset_digest"]  # the command finds it in the data
    parameters = project["entry_points"][entry]["parameters"]
    assert {name: about["default"] for name, about in parameters.items()} == expected
    # A default of none counts as missing with MLflow.
    assert all(about["default"] is not None for about in parameters.values())
    for name, about in parameters.items():
        assert about["type"] == ("string" if isinstance(expected[name], str) else "float")


@pytest.mark.parametrize("entry", ["main", "paper"])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"optimizer": "adam", "learning_rate": "1e-2", "seed": "42"},
        {"data_dir": "/a place/with 'quotes' and $HOME;", "dataset": "folder"},
        {"sigma_w": "-1"},
        {"optimizer": "nonsense; rm"},
    ],
)
def test_mlflow_makes_a_command_that_the_parser_reads_back(
    entry: str, given: dict[str, str], tmp_path: Path
) -> None:
    """What ``mlflow run -P`` gives reaches the settings as it was typed."""
    from mlflow.projects.utils import load_project

    command = load_project(str(ROOT)).get_entry_point(entry).compute_command(given, str(tmp_path))
    words = shlex.split(command)
    preset = {"main": "demo"}.get(entry, entry)
    assert words[:5] == ["python", "-m", "suite.train", "--preset", preset]
    arguments = vars(parser(preset).parse_args(words[3:]))
    for name, value in given.items():
        assert arguments[name] == value
    if not given:
        left = {name: arguments[name] for name in RunConfig.names() if name in arguments}
        assert RunConfig.parse(left) == RunConfig.parse(PRESETS[preset])
