"""The folder of an analysis: what is written there, and what keeps it from being written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from analysis.output import FORMATS, OutputFolder, file_stem, formats_of
from suite.basics.settings import ConfigError

ROOT = Path(__file__).parents[2]


def figure() -> Figure:
    drawn = Figure(figsize=(2, 2), layout="constrained")
    drawn.add_subplot().plot([0, 1])
    return drawn


def test_figures_are_written_in_each_format_asked_for(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "new", ["png", "svg", "pdf"])
    paths = folder.figure("map", figure(), "figures")
    assert [path.name for path in paths] == ["map.png", "map.svg", "map.pdf"]
    assert {path.parent for path in paths} == {tmp_path / "new" / "figures"}
    starts = [path.read_bytes()[:4] for path in paths]
    assert starts == [b"\x89PNG", b"<?xm", b"%PDF"]


def test_what_was_written_is_known_by_its_folder(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, ["svg"])
    page = folder.text("report.html", "σ")
    drawn = folder.figure("a", figure(), "figures")
    tables = folder.texts("t", {"csv": "1\n", "md": "| 1 |\n"}, "tables")
    assert folder.files == {"": [page], "figures": drawn, "tables": tables}
    assert [path.name for path in tables] == ["t.csv", "t.md"]
    assert page.read_text(encoding="utf-8") == "σ"
    assert tables[1].read_text(encoding="utf-8") == "| 1 |\n"


def test_the_same_figure_is_the_same_file_whenever_it_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for epoch, name in (("0", "a"), ("86400", "b")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        paths = OutputFolder(tmp_path, FORMATS).figure(name, figure())
        drawn.append([path.read_bytes() for path in paths])
    assert drawn[0] == drawn[1]


class Place(Artist):
    """Notes where its axes are whenever they are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, ...]] = []

    def draw(self, renderer: RendererBase) -> None:  # noqa: ARG002
        assert self.axes is not None
        self.seen.append(self.axes.get_position().bounds)


def test_a_figure_is_laid_out_and_drawn_once_for_each_format(tmp_path: Path) -> None:
    place = Place()
    with rc_context({"figure.constrained_layout.use": True}):
        made = Figure()
        panel = made.subplots()
        panel.set_ylabel("a label that takes\nmore than one line", fontsize=20)
        at_first = panel.get_position().bounds
        panel.add_artist(place)
        OutputFolder(tmp_path, FORMATS).figure("a", made)
    assert len(place.seen) == len(FORMATS)
    assert len(set(place.seen)) == 1
    assert place.seen[0] != at_first


def test_the_check_makes_no_folder(tmp_path: Path) -> None:
    OutputFolder(tmp_path / "deep" / "er").check()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["", "below", "below/deeper"])
def test_a_folder_that_is_a_file_is_refused_before_and_while_writing(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").touch()
    folder = OutputFolder(tmp_path / "file" / below, ["png"])
    line = "out: must be a folder that can be written, got .*; name another"
    for write in (folder.check, lambda: folder.text("a", ""), lambda: folder.figure("a", figure())):
        with pytest.raises(ConfigError, match=line):
            write()


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ConfigError, match="no folder that can be written"):
        OutputFolder(tmp_path / "new").check()


def test_formats_are_taken_once_each_and_in_any_case() -> None:
    assert formats_of("PNG, svg,png") == ["png", "svg"]
    with pytest.raises(ConfigError, match="got 'jpg'"):
        formats_of("png,jpg")


def test_a_name_with_signs_becomes_part_of_a_file_s_name() -> None:
    assert file_stem("my sweep/η=0.1.") == "my-sweep-η-0.1"


@pytest.mark.parametrize("command", ["phase_diagram", "report.command", "minimal_model.command"])
def test_a_backend_that_a_notebook_left_and_that_is_not_installed_is_not_asked_for(
    command: str,
) -> None:
    program = f"import analysis.{command}; import matplotlib; print(matplotlib.get_backend())"
    environment = {**os.environ, "MPLBACKEND": "no_such_backend"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=ROOT,
    )
    assert (ended.stdout, ended.stderr) == ("agg\n", "")
