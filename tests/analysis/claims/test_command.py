from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from miniature_experiments import MINIATURES, declare
from store_helpers import SMALL, empty_store, write

from analysis.claims import command as claims
from analysis.claims.next_sweep import next_sweep
from analysis.claims.recipes import command, declared_recipe
from analysis.claims.text import WIDTH, markdown, table, totals
from benchmarks.synthetic_truth import Truth
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS

ARITHMETIC, TRAINED = 12, 81
NONE = "0 reproduced, 0 contradicted"


def declare_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command find the tests' own miniatures."""
    file = declare(monkeypatch)
    monkeypatch.setattr(claims, "paper", lambda: file)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def small_best(uri: str) -> None:
    """The tuned recipes at b=128, all seeds: 40 runs."""
    best = EXPERIMENTS["best"]
    axes = {**best.axes, "batch_size": (128,)}
    configs = list(dataclasses.replace(best, axes=axes).configs())
    flat = Truth(chosen_beta=lambda config: np.zeros(config.epochs))
    write(uri, configs, experiment="best", truth=flat)


def test_an_empty_store_leaves_the_arithmetic_and_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims.main(["--tracking-uri", empty_store(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no runs of the paper's experiments"
    assert f"{TRAINED} claims on training, at full scale: {NONE}, {TRAINED} undetermined" in lines
    counts = f"{ARITHMETIC} reproduced, 0 contradicted, 0 undetermined"
    assert f"{ARITHMETIC} claims of arithmetic: {counts}" in lines
    (at,) = [at for at, line in enumerate(lines) if line.startswith("next, ")]
    assert lines[at + 1].startswith("  python -m suite.grid --experiment ")


def test_where_there_is_no_store_yet_the_command_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: f"sqlite:///{tmp_path}/mlflow.db")
    assert claims.main([]) == 0
    assert capsys.readouterr().out.startswith("no runs: tracking_uri: no such store")
    assert not (tmp_path / "mlflow.db").exists()


def test_the_demo_is_not_the_papers_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = empty_store(tmp_path)
    write(uri, list(SMALL.configs()), experiment="demo")
    for arguments in ([], ["--experiment", "demo"]):
        assert claims.main(["--tracking-uri", uri, *arguments]) == 0
        output = capsys.readouterr().out
        says = "digits instead of cifar10, width 8 instead of width 64, 6 epochs instead of 300"
        assert f"experiment demo is not the paper's ({says} epochs): no claim" in output
        assert f"{ARITHMETIC} reproduced, 0 contradicted" in output
        assert f"{NONE}, {TRAINED} undetermined" in output


def test_a_part_of_one_experiment_is_judged_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = empty_store(tmp_path)
    small_best(uri)
    assert claims.main(["--tracking-uri", uri, "--out", str(tmp_path / "out" / "deep")]) == 0
    output = capsys.readouterr().out
    assert "experiment best: 40 finished runs" in output
    frame = pd.read_csv(tmp_path / "out" / "deep" / "claims.csv").set_index("claim")
    assert frame.loc["best-sgd-spread", "verdict"] == "reproduced"
    assert frame.loc["best-sgd-spread", "n"] == 10
    assert frame.loc["best-sgd-accuracy-smallest", "verdict"] == "contradicted"
    text = (tmp_path / "out" / "deep" / "claims.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == len(frame) + 1
    assert f"\n- {TRAINED} claims on training" in text
    assert "| reproduced |" in text
    assert "\\|Δ\\|" in text  # a bar in a cell is no border


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tracking-uri", "sqlite:///nowhere.db"], "tracking_uri: no such store"),
        (["--experimnt", "main"], "did you mean experiment?"),
        (["--out", "file/below"], "out: must be a folder that can be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert claims.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert says in captured.err


def test_an_experiment_that_was_named_has_to_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims.main(["--tracking-uri", empty_store(tmp_path), "--experiment", "main"]) == 2
    assert capsys.readouterr().err.startswith("error: experiment: is not in")


def test_the_rule_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        claims.main(["--help"])
    text = capsys.readouterr().out
    for word in (
        "reproduced:",
        "contradicted:",
        "undetermined:",
        "95 %",
        "exact settings",
        "reduced scale",
        "5 seeds",
    ):
        assert word in text


def test_the_table_fits_a_terminal_and_says_each_reason_once() -> None:
    judged = claims.judge({})
    scale = judged["unit"].map({"epochs": 100, "pp": 10, "%": 100}).fillna(0.1)
    wide = judged.assign(ours=-1.234 * scale, low=-1.3 * scale, high=-1.1 * scale, n=10)
    for frame in (judged, wide):
        lines = table(frame).splitlines()
        assert max(len(line) for line in lines) <= WIDTH
    text = table(judged)
    needs = "needs experiment best: `python -m suite.grid --experiment best`"
    assert text.count(needs) == 1
    assert totals(judged).splitlines()[:2] == [
        f"{TRAINED} claims on training, at full scale: {NONE}, {TRAINED} undetermined",
        f"{ARITHMETIC} claims of arithmetic: {ARITHMETIC} reproduced, 0 contradicted, "
        "0 undetermined",
    ]
    assert markdown(judged).count("\n| ") == len(judged) + 1


def test_the_kinds_of_verdict_are_counted_apart() -> None:
    kinds = ["holds", "holds", "reversed", "open", "", ""]
    rows = pd.DataFrame(
        {
            "experiment": ["main"] * 4 + ["none", "main"],
            "verdict": ["undetermined"] * 4 + ["reproduced", "contradicted"],
            "reduced": kinds,
        }
    )
    assert totals(rows).splitlines() == [
        "5 claims on training, at full scale: 0 reproduced, 1 contradicted, 4 undetermined",
        "1 claims of arithmetic: 1 reproduced, 0 contradicted, 0 undetermined",
        "4 claims at reduced scale: 2 holds, 1 reversed, 1 open",
        "of 4 verdicts on training 0.1 are to be expected wrong by chance if every truth is at the "
        "border of its range, fewer elsewhere",
    ]


def test_a_miniature_in_a_store_is_judged_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_file(monkeypatch)
    uri = empty_store(tmp_path)
    small = MINIATURES["small-main"]
    axes = {**small.axes, "optimizer": ("sgd", "momentum", "adam"), "batch_size": (8,)}
    fixed = {**small.fixed, "epochs": 6}
    reduced = dataclasses.replace(small, axes=axes, fixed=fixed)
    monkeypatch.setitem(EXPERIMENTS, "small-main", dataclasses.replace(small, fixed=fixed))

    def beta(config: RunConfig) -> np.ndarray:
        slope = {"sgd": -0.1, "momentum": -0.05, "adam": 0.0}[config.optimizer]
        return np.full(config.epochs, slope)

    write(uri, list(reduced.configs()), experiment="small-main", truth=Truth(chosen_beta=beta))
    out = tmp_path / "out"
    assert claims.main(["--tracking-uri", uri, "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert "experiment small-main: 75 finished runs" in output
    assert "↓ small-main: digits instead of cifar10" in output
    (line,) = [one for one in output.splitlines() if "SGD, momentum, Adam in order" in one]
    assert line.endswith("? undetermined  ▲")
    assert "    └ ↓ holds, " in output
    assert max(len(one) for one in output.splitlines() if one.startswith("  b=")) <= WIDTH
    row = pd.read_csv(out / "claims.csv").set_index("claim").loc["hierarchy-b16"]
    assert (row["verdict"], row["reduced"], row["reduced_n"]) == ("undetermined", "holds", 5)
    assert row["reduced_low"] > 0
    text = (out / "claims.md").read_text(encoding="utf-8")
    assert "| holds |" in text
    assert "claims at reduced scale: " in text
    needs = "  python -m suite.grid --experiment small-lr-l2"
    assert needs in output.splitlines()


def test_a_command_asks_for_just_the_recipes_and_enough_seeds() -> None:
    two = [
        declared_recipe("main", {"optimizer": name, "batch_size": 128}) for name in ("adam", "sgd")
    ]
    start = "python -m suite.grid --experiment"
    assert command(two, 5) == f"{start} main --set optimizer=sgd,adam --set batch_size=128"
    assert command(two, 5, whole=True) == f"{start} main"
    long = [declared_recipe("long", {"batch_size": 16})]
    assert command(long, 3) == f"{start} long --set batch_size=16 --set seed=42,0,1"


def test_the_next_sweep_is_the_one_that_decides_most_claims_a_step() -> None:
    found = next_sweep([one.full for one in claims.judged({})], seeds=5)
    assert found is not None
    assert found.command.startswith("python -m suite.grid --experiment ")
    # Two procedures × 2 σw × 10 seeds × 200 epochs × 313 steps decide four claims.
    assert found.claims / found.steps >= 4 / (40 * 200 * 313)
    assert next_sweep([], seeds=5) is None
