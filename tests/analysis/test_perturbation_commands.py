"""The commands where another setting than σw is perturbed: from a store to words and files."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from store_helpers import empty_store, write

from analysis import phase_diagram, plan
from analysis.claims import command as claims_command
from analysis.exhibits import phase_diagram as shown
from analysis.store.frames import load
from suite.declarations.experiments import EXPERIMENTS

NOTE = "experiment biases: varies sigma_b and not sigma_w, so memory is that of sigma_b"
UNJUDGED = (
    "the paper's claims on training are about sigma_w: none is judged by biases, where memory is "
    "that of sigma_b"
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("biases")
    uri = empty_store(folder)
    axes = {"sigma_b": (0.0, 0.2, 1.0), "seed": (0, 1, 2), "batch_size": (16, 64)}
    fixed = {"dataset": "digits", "epochs": 6, "optimizer": "sgd"}
    sweep = dataclasses.replace(EXPERIMENTS["demo"], axes=axes, fixed=fixed)
    write(uri, list(sweep.configs()), experiment="biases")
    return uri


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))


def only_accuracies(found: shown.Estimates, _: str) -> list[tuple[str, Figure]]:
    return [(f"accuracy-by-{found.perturbation.stem}", shown.accuracies(found, "title"))]


@pytest.mark.parametrize("asked", [(), ("--perturbation", "sigma_b")], ids=["by itself", "asked"])
def test_the_phase_diagram_is_of_what_the_experiment_varies(
    uri: str,
    asked: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shown, "figures", only_accuracies)
    arguments = ["--tracking-uri", uri, "--out", str(tmp_path / "out"), "--no-log", *asked]
    assert phase_diagram.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (NOTE in lines) == (not asked)
    (heading,) = [line for line in lines if line.startswith("recipe ")]
    assert heading.split()[-4] == "σb"
    rows = [line.split() for line in lines if line.startswith(("b16", "b64", "sgd b16", "sgd b64"))]
    assert len(rows) == 2
    assert all("3" in row for row in rows)
    assert (tmp_path / "out" / "biases-accuracy-by-sigma-b.png").is_file()


def test_asking_for_the_memory_of_what_has_one_value_says_so_and_names_what_varies(
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shown, "figures", only_accuracies)
    arguments = ["--tracking-uri", uri, "--out", str(tmp_path), "--no-log"]
    assert phase_diagram.main([*arguments, "--perturbation", "sigma_w"]) == 0
    text = capsys.readouterr().out
    assert "train another sigma_w, or ask for --perturbation sigma_b" in text
    assert "σb=0.2" in text  # one of the recipes


def test_seeds_are_planned_for_the_memory_of_sigma_b_and_no_claim_is_judged_by_it(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan.main(["--tracking-uri", uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert NOTE in lines
    assert UNJUDGED in lines
    assert sum(line.startswith(("b16", "b64", "sgd b")) for line in lines) == 2


def test_claims_of_arithmetic_are_judged_where_those_on_training_cannot_be(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims_command.main(["--tracking-uri", uri, "--experiment", "biases"]) == 0
    text = capsys.readouterr().out
    assert UNJUDGED in text.splitlines()
    assert "0 claims on training" in text
    assert "12 claims of arithmetic: 12 reproduced" in text
    judged = claims_command.judge({"biases": _asked(uri)})
    assert set(judged["experiment"]) == {"none"}


def _asked(uri: str) -> claims_command.Store:
    from suite.declarations.perturbation import perturbation

    store = load("biases", uri)
    return dataclasses.replace(store, perturbation=perturbation("sigma_b"))


@pytest.mark.parametrize(
    "command", [phase_diagram, plan, claims_command], ids=lambda one: one.__name__
)
def test_a_setting_without_memory_is_refused_before_anything_is_read(
    command: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tracking-uri", str(tmp_path / "nothing"), "--perturbation", "learning_rate"]
    assert command.main(arguments) == 2  # type: ignore[attr-defined]
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: perturbation: must be a setting that acts before the first step")
    assert "sigma_w" in line
    assert "sigma_b" in line


@pytest.mark.slow
def test_a_real_sweep_over_sigma_b_is_analysed_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "biases.toml").write_text(
        'name = "biases"\n[axes]\nsigma_b = [0.0, 0.5]\nseed = [0, 1]\n'
        "[fixed]\nwidth = 4\nepochs = 2\ntrain_fraction = 0.2\nbatch_size = 64\n"
    )
    where = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    python = [sys.executable, "-m"]
    machine = ["--fleet", "2", "--workers", "1", "--threads", "1", "--device", "cpu"]
    subprocess.run([*python, "suite.grid", "--experiment", "biases.toml", *machine], **where)  # type: ignore[call-overload]
    drawn = subprocess.run([*python, "analysis.phase_diagram", "--no-log"], **where)  # type: ignore[call-overload]
    assert NOTE in drawn.stdout
    assert (tmp_path / "figures" / "biases-accuracy-by-sigma-b.png").is_file()
