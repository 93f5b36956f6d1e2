"""The GPU benchmark runs where torch and NumPy are all there is, and times only what is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu, gpu_check, gpu_steps, gpu_task
from benchmarks.stock_resnet9 import StockResNet9

ROOT = Path(__file__).parents[3]
# torch, NumPy and what torch itself requires.
BARE = {
    "torch", "torchgen", "functorch", "numpy", "sympy", "mpmath", "typing_extensions", "filelock",
    "fsspec", "jinja2", "markupsafe", "networkx",
}  # fmt: skip

ON_A_BARE_MACHINE = f"""
import importlib.machinery, runpy, sys

THERE = {BARE!r} | set(sys.stdlib_module_names) | {{"suite", "benchmarks"}}

class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in THERE and not name.startswith("_sysconfigdata"):
            return None
        return super().find_spec(name, path, target)

keep = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
sys.meta_path[:] = [*keep, Bare]
before = set(sys.modules)
try:
    import pydantic
except ModuleNotFoundError:
    print("bare")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_bare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "benchmarks" / "gpu.py")
    start = f"import sys; sys.argv[:] = {[script, *arguments]!r}\n{ON_A_BARE_MACHINE}"
    command = [sys.executable, "-W", "error", "-c", start]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_the_benchmark_runs_on_a_bare_machine(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    quick = ["--device", "cpu", "--quick", "--precision", "fp32", "--json", str(file)]
    done = run_bare(tmp_path, *quick)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bare\nCPU, torch ")
    checked, timed = done.stdout.split("\n\n")[1:3]
    assert checked.startswith("distance from stock modules in float64")
    rows = [line.split() for line in timed.splitlines()]
    assert " ".join(rows[0]) == "batch runs way ms/step images/s TFLOP/s × plain GiB grid h"
    measured = {(row[1], row[2]) for row in rows[1:] if row[3] != "skipped:"}
    assert measured == {(r, w) for r in "12" for w in ("fleet", "gemm")} | {("1", "plain")}
    skipped = {(row[2], " ".join(row[4:])) for row in rows[1:] if row[3] == "skipped:"}
    assert skipped == {
        ("graph", "CUDA graphs need a CUDA device"),
        ("streams", "streams need a CUDA device"),
    }
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert len(cells) == len(rows) - 1
    assert all(("milliseconds" in cell) != ("reason" in cell) for cell in cells)


def test_a_machine_without_the_device_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as error:
        gpu.main([])
    assert error.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("--device: this machine has no CUDA device; use --device cpu --quick to try")
    )


def test_nothing_is_timed_where_a_way_does_not_train_as_stock_modules_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Careless(gpu_steps.Fleet):
        def step(self, index: torch.Tensor, rate: float) -> torch.Tensor:
            return super().step(index, 1.001 * rate)

    def measure(*_given: Any) -> Any:
        raise AssertionError("timed")

    ways = {"plain": gpu_steps.PlainLoops, "fleet": Careless}
    monkeypatch.setattr(gpu_check, "WAYS", ways)
    monkeypatch.setattr(gpu_check, "CHECK_BATCHES", (8, 4))
    monkeypatch.setattr(gpu, "measure", measure)
    arguments = ["--device", "cpu", "--quick", "--precision", "fp32", "--ways", "plain,fleet"]
    with pytest.raises(SystemExit) as error:
        gpu.main(arguments)
    assert "nothing was timed" in str(error.value.code)
    rows = [line for line in capsys.readouterr().out.splitlines() if "TOO FAR" in line]
    assert {row.split()[0] for row in rows} == {"fleet"}


@pytest.mark.parametrize(("width", "side"), [(4, 16), (8, 32)])
def test_flops_are_those_that_torch_counts(width: int, side: int) -> None:
    model = StockResNet9(gpu_task.CHANNELS, width, gpu_task.CLASSES).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    assert gpu.forward_flops(width, side) == counter.get_total_flops()


def test_hours_are_steps_of_the_grid_times_seconds_and_the_floor_is_the_papers_work() -> None:
    plain = gpu.Cell(16, 1, "plain", milliseconds=1.0)
    graph = gpu.Cell(16, 50, "graph", milliseconds=10.0)
    # 1,250 runs of 300 epochs of 2,500 steps at 1 ms each.
    assert gpu.grid_hours(plain) == pytest.approx(1250 * 300 * 2500 * 1e-3 / 3600)
    text = gpu.table([plain, graph, gpu.Cell(16, 10, "graph", reason="skipped: no")], 64, 32)
    assert "b=16: 52.1 h as graph of 50, 260.4 h in stock modules" in text
    assert "main grid without b=32, 64, 128, 256: 52.1 h, 260.4 h in stock modules" in text
    assert "floor: 185 EFLOP of the whole grid" in text
    assert "at 790 TFLOP/s bf16: 65 h" in text
    fastest = text.splitlines()[2].split()
    assert fastest[:6] == ["16", "50", "graph", "10.000", "80,000", "182.046"]
    assert fastest[6:] == ["5.00", "-", "52.1"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_every_way_is_right_and_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "numbers.json"
    gpu.main(["--quick", "--json", str(file)])
    assert "TOO FAR" not in capsys.readouterr().out
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert {cell["way"] for cell in cells} == {"plain", "fleet", "graph", "streams", "gemm"}
    assert all(cell["milliseconds"] > 0 for cell in cells)
