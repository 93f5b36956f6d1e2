"""Command lines follow from the declared settings, and answer errors in one line."""

from __future__ import annotations

import importlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from suite import train
from suite.basics.cli import Parser, add_settings, chosen, complain, flag, parse_known
from suite.basics.settings import ConfigError, Settings
from suite.declarations.config import RunConfig
from suite.declarations.experiments import PRESETS
from suite.declarations.machine import Machine


def flat(text: str) -> str:
    """Without the line breaks that depend on the terminal's width."""
    return " ".join(text.split())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("settings", [RunConfig, Machine])
def test_help_lists_every_setting_with_meaning_unit_range_and_default(
    settings: type[Settings], preset: str
) -> None:
    text = flat(train.parser(preset).format_help().split("the run:")[1])
    for name in settings.names():
        about = settings.about(name)
        default = PRESETS[preset].get(name, settings.default(name))
        (entry,) = re.findall(rf"{flag(name)} VALUE (.*?)(?= --[a-z-]+ VALUE|$)", text)
        assert flat(about.help) in entry
        assert about.unit in entry
        assert settings.range(name) in entry
        if default != "":
            assert f"default {default}" in entry
        for other, values in about.only_with.items():
            assert f"only with {other}={'|'.join(values)}" in entry


def test_help_names_the_options_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--preset", "--experiment", "--tracking-uri", "--force"):
        assert option in shown


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--learning-rate", "-1"], ["--no-such-flag", "1"]]
)
def test_help_and_errors_need_neither_torch_nor_mlflow(arguments: list[str]) -> None:
    program = (
        "import sys, atexit\n"
        "heavy = {'torch', 'mlflow', 'sqlalchemy', 'numpy'}\n"
        "atexit.register(lambda: print('imported:', sorted(heavy & set(sys.modules))))\n"
        "from suite.train import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[-1] == "imported: []"
    assert ended.returncode == (0 if arguments == ["--help"] else 2)
    assert ended.stderr.count("\n") == ended.returncode // 2  # nothing, or one line


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["--learning-rate", "-1"],
            ["learning_rate: must be greater than 0, got '-1'; give a value > 0, such as 0.001"],
        ),
        (
            ["--sigma_w", "0"],
            ["sigma_w: must be greater than 0, got '0'; give a value > 0, such as 1.0"],
        ),
        (
            ["--optimiser", "adam"],
            ["optimiser: is no setting, got 'adam'; did you mean optimizer?"],
        ),
        (
            ["--optimiser=adam", "--lr", "1"],
            [
                "optimiser: is no setting, got 'adam'; did you mean optimizer?",
                "lr: is no setting, got '1'; --help lists all settings",
            ],
        ),
        (["stray"], ["stray: is no flag; --help lists all settings"]),
        (["--seed"], ["--seed: expected one argument; --help lists all settings"]),
        (["--preset"], ["--preset: expected one argument; --help lists all settings"]),
        (
            ["--threads", "x", "--epochs", "3"],
            [
                "threads: must be a valid integer, unable to parse string as an integer, "
                "got 'x'; give a value ≥ 0, such as 0"
            ],
        ),
    ],
)
def test_impossible_input_is_answered_in_lines_and_with_exit_code_2(
    arguments: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [f"error: {line}" for line in lines]


def test_a_negative_number_is_a_value_not_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    for written in ("-1", "-1e-3", "-.5", "-1_0"):
        assert train.main(["--sigma-w", written]) == train.main([f"--sigma_w={written}"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines == 2 * [
            f"error: sigma_w: must be greater than 0, got '{written}'; "
            "give a value > 0, such as 1.0"
        ]
    assert train.main(["--sigma-w", "-inf"]) == 2
    assert "sigma_w: must be a finite number, got '-inf'" in capsys.readouterr().err


def test_an_unknown_preset_is_answered_with_the_ones_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train.main(["--preset", "big"]) == 2
    (line,) = capsys.readouterr().err.replace("'", "").splitlines()
    assert line == (
        "error: --preset: invalid choice: big (choose from demo, paper); --help lists all settings"
    )


def test_flags_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--optim", "adam"]) == 2
    assert capsys.readouterr().err.startswith("error: optim: is no setting, got 'adam'; did you ")


def test_only_what_is_given_is_chosen() -> None:
    made = Parser(prog="x", allow_abbrev=False)
    add_settings(made, RunConfig, "the run")
    add_settings(made, Machine, "the machine")
    arguments = parse_known(made, ["--seed", "3", "--threads=2"], RunConfig.names())
    assert chosen(arguments, RunConfig) == {"seed": "3"}
    assert chosen(arguments, Machine) == {"threads": "2"}
    assert [flag(name) for name in ("seed", "batch_size")] == ["--seed", "--batch-size"]


ROOT = Path(__file__).parents[3]
# They print nothing: one is waited for by nobody, the other writes arrays to a pipe.
SILENT = {"suite.tracking.discard", "analysis.store.sqlite_scan"}
COMMANDS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("suite", "analysis")
    for path in (ROOT / package).rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("name", sorted(COMMANDS - SILENT))
def test_every_command_prints_on_a_terminal_that_lacks_its_letters(
    name: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    entry = f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(entry).main(["--help"])
    assert ended.value.code == 0
    print("σw²: 1 → 2")
    terminal.flush()
    assert (
        written.getvalue()
        .decode(encoding)
        .endswith("?w?: 1 ? 2\n" if encoding == "ascii" else "?w²: 1 ? 2\n")
    )


def test_complaints_go_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ConfigError("one", "two"))
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "error: one\nerror: two\n")
