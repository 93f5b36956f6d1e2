from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from store_helpers import CONFIGS, empty_store

from analysis import plan
from benchmarks.synthetic_store import write


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_runs_a_declared_scatter_is_planned_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert plan.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("no runs: tracking_uri: no such store")
    assert lines[1] == "if a memory's standard deviation over seeds is 1 pp"
    assert "seeds for an interval of memory: 18 for ±0.5, 7 for ±1, 4 for ±2 pp" in lines
    assert plan.main(["--deviation", "2", "--half-width", "1", "--seeds", "4"]) == 0
    text = capsys.readouterr().out
    assert "seeds for an interval of memory: 18 for ±1 pp" in text
    assert "±3.18" in text


def test_every_recipe_of_a_store_has_its_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS, experiment="mine")
    assert plan.main(["--tracking-uri", uri, "--half-width", "0.5,4", "--seeds", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"experiment mine: {len(CONFIGS)} finished runs"
    (heading,) = [line for line in lines if line.startswith("recipe")]
    assert "seeds for ±0.5" in heading
    assert "seeds for ±4" in heading
    recipes = lines[lines.index(heading) + 1 :][:3]
    assert [line.split()[0] for line in recipes] == ["sgd", "momentum", "adam"]
    for line in recipes:
        needed = [int(word) for word in line.replace("(", "").replace(")", "").split()[-4:]]
        assert needed == sorted(needed, reverse=True) or needed[0] >= needed[2]
        assert np.all(np.array(needed) >= 2)


def test_runs_of_one_seed_are_nothing_to_plan_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:1], experiment="mine")
    assert plan.main(["--tracking-uri", uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "mine: no recipe has two seeds at two σw; nothing to plan with"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--half-width", "0"], "half_width: must be numbers above 0, got '0'"),
        (["--half-width", "a"], "half_width: must be numbers above 0, got 'a'"),
        (["--seeds", "1"], "seeds: must be whole numbers above 1, got '1'"),
        (["--seeds", "2.5"], "seeds: must be whole numbers above 1, got '2.5'"),
        (["--deviation", "inf"], "deviation: must be numbers above 0, got 'inf'"),
        (["--experiment", "nowhere"], "no such store"),
        (["--seed", "3"], "did you mean seeds?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan.main(arguments) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.count("\n") == 1
