"""The report as a file: complete in itself, and with nothing in it that is not ours."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from report_pages import HOSTILE, claims, exhibit, figure, page, recipes, texts

from analysis import output
from analysis.output import OutputFolder
from analysis.report import page as page_module
from analysis.report.page import LARGEST_DOWNLOAD, ROWS_SHOWN, Page, image, render, show
from analysis.report.table_views import TableView, claims_view, count_views, key, table_view


class Parsed(HTMLParser):
    """Elements of a page with their attributes, and the text inside those of some names."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def inside(self, tag: str) -> str:
        return "".join(data for name, data in self.texts if name == tag)


@pytest.fixture(scope="module")
def source() -> str:
    return render(page())


@pytest.fixture(scope="module")
def parsed(source: str) -> Parsed:
    return Parsed(source)


def decoded(uri: str) -> bytes:
    return base64.b64decode(unquote(uri.partition("base64,")[2]))


def test_nothing_is_loaded_from_outside(parsed: Parsed) -> None:
    addresses = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert len(addresses) > 20
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    assert not [tag for tag, _ in parsed.elements if tag in ("link", "iframe", "object", "base")]
    assert not re.search(r"url\(|@import|@font-face", parsed.inside("style"))
    assert not re.search(r"fetch|XMLHttp|import|localStorage", parsed.inside("script"))


def test_names_that_want_to_be_markup_are_text(parsed: Parsed) -> None:
    assert len(parsed.all("script")) == 1
    assert all(str(one["src"]).startswith("data:image/") for one in parsed.all("img"))
    handlers = [
        name for _, attributes in parsed.elements for name in attributes if name[:2] == "on"
    ]
    assert not handlers
    assert HOSTILE in parsed.inside("title")
    assert HOSTILE in parsed.inside("h1")


def test_only_the_reports_own_script_and_style_may_run(parsed: Parsed) -> None:
    (policy,) = [m["content"] for m in parsed.all("meta") if "Policy" in str(m.get("http-equiv"))]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        digest = hashlib.sha256(parsed.inside(tag).encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_the_contents_name_every_exhibit_and_lead_to_it(parsed: Parsed) -> None:
    anchors = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(set(anchors)) == len(anchors)
    targets = [str(a["href"])[1:] for a in parsed.all("a") if str(a["href"]).startswith("#")]
    assert set(targets) <= set(anchors)
    assert {"figure-2", "figure-3", "table-2", "phase-diagram", "claims", "missing"} <= set(targets)


def test_what_was_not_made_is_listed_with_its_command(source: str) -> None:
    assert "python -m suite.grid --experiment long" in source


def test_downloads_are_the_tables_texts(parsed: Parsed) -> None:
    links = {str(a["download"]): str(a["href"]) for a in parsed.all("a") if "download" in a}
    for suffix, content in texts().items():
        assert decoded(links[f"table-2.{suffix}"]).decode() == content
    assert texts()["tex"] in parsed.inside("pre")


def test_a_small_figure_is_svg_without_text_that_needs_a_font() -> None:
    drawn = decoded(image(figure()).uri)
    assert drawn.startswith(b"<?xml")
    assert b"<text" not in drawn


def test_a_figure_that_is_heavy_as_svg_is_png() -> None:
    made = image(figure(points=5_000))
    assert made.uri.startswith("data:image/png;")
    assert decoded(made.uri).startswith(b"\x89PNG")


def test_a_figure_that_was_written_already_is_drawn_for_the_report_only_where_it_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light, heavy = figure(), figure(points=5_000)
    saved: list[str] = []

    def save(drawn: Figure, target: BinaryIO, suffix: str) -> None:
        saved.append(suffix)
        output.save(drawn, target, suffix)

    monkeypatch.setattr(page_module, "save", save)
    folder = OutputFolder(tmp_path, ["png", "svg"])
    with rc_context({"figure.constrained_layout.use": True}):  # as in all our figures
        files = folder.figure("light", light)
        assert decoded(image(light, files).uri) == decoded(image(light).uri)
        assert saved == ["svg", "svg"]
        png, svg = folder.figure("heavy", heavy)
        saved.clear()
        assert decoded(image(heavy, [png, svg]).uri) == png.read_bytes()
        assert saved == []
        assert decoded(image(heavy, [svg]).uri) == png.read_bytes()
        assert saved == ["png"]


def test_an_image_has_the_figures_size_in_css_pixels() -> None:
    small, wide = image(figure(5.0)), image(figure(14.0))
    assert (small.width, small.height, small.wide) == (480, 288, False)
    assert (wide.width, wide.wide) == (1344, True)


def test_many_numbers_behind_a_figure_are_left_to_the_csv() -> None:
    long = pd.DataFrame({"x": range(ROWS_SHOWN + 1)})
    shown = show(exhibit(figure=figure(), table=long), {}, "figure-2")
    assert shown.table is None
    assert shown.note == "The 201 numbers behind it are in the CSV file."
    assert show(exhibit(table=long), {}, "table-2").table is not None


def test_a_text_that_is_too_large_for_the_page_is_named_instead() -> None:
    big = {"csv": "1\n" * LARGEST_DOWNLOAD, "md": "small"}
    shown = show(exhibit(), big, "table-2")
    assert [one.name for one in shown.downloads] == ["Markdown"]
    assert shown.note == "table-2.csv is too large for this page and lies beside it."


def test_a_report_without_claims_has_no_section_of_them() -> None:
    empty = Page(title="t", facts=[], findings=[], claims=claims().iloc[:0])
    assert 'id="claims"' not in render(empty)


def test_cells_read_well_and_keep_all_digits_for_sorting() -> None:
    view = table_view(recipes())
    assert [(h.text, h.number) for h in view.headings] == [
        ("recipe", False),
        ("memory", True),
        ("reached", False),
    ]
    assert [row[1].text for row in view.rows] == ["9.5", "100.2", "–", "-3", "20"]
    assert [row[1].key for row in view.rows] == ["9.5", "100.25", "", "-3.0", "20.0"]
    assert [row[2].text for row in view.rows] == ["yes", "no", "yes", "no", "yes"]


@pytest.mark.parametrize(
    ("value", "sorted_by"),
    [
        (1234567, "1234567.0"),
        (2.77e-4, "0.000277"),
        (np.inf, "Infinity"),
        (-np.inf, "-Infinity"),
        (None, ""),
        (pd.NaT, ""),
        (np.nan, ""),
        ("σw", "σw"),
    ],
)
def test_what_a_value_is_sorted_by(value: object, sorted_by: str) -> None:
    assert key(value) == sorted_by


def test_a_number_is_shown_with_its_interval_and_sorted_by_itself() -> None:
    frame = pd.DataFrame(
        {"spread (pp)": [26.51], "spread (pp) low": [25.1], "spread (pp) high": [28.0]}
    )
    view = table_view(frame)
    assert [heading.text for heading in view.headings] == ["spread (pp) [95 %]"]
    assert (view.rows[0][0].text, view.rows[0][0].key) == ("26.5 [25.1, 28.0]", "26.51")


def test_a_named_index_is_a_column() -> None:
    view = table_view(recipes().set_index("recipe"))
    assert view.headings[0].text == "recipe"
    assert view.rows[0][0].text == "sgd b2"


def test_claims_show_our_value_with_its_interval_and_a_mark_beside_the_verdict() -> None:
    found = claims_view(claims())
    view = TableView(found.decided.headings, [*found.decided.rows, *found.open.rows])
    columns = [heading.text for heading in view.headings]
    rows = [dict(zip(columns, row, strict=True)) for row in view.rows]
    assert [(row["Verdict"].text, row["Ours [95 %]"].text) for row in rows] == [
        ("✓ reproduced", "25.1 [24.0, 27.0]"),
        ("✓ reproduced", "100.0 [90.0, 110.0]"),
        ("✗ contradicted", "9.0 [8.0, 10.0]"),
        ("? undetermined", "–"),
    ]


def test_verdicts_are_counted_those_of_none_too() -> None:
    arithmetic = claims().iloc[:2].assign(experiment=["main", "none"])
    counts = {
        kind: {count.look: count.number for count in counts}
        for kind, counts in count_views(arithmetic)
    }
    assert counts == {
        "Trained": {"reproduced": 1, "contradicted": 0, "undetermined": 0},
        "At reduced scale, where no number is judged": {"holds": 1, "reversed": 0, "open": 0},
        "Arithmetic": {"reproduced": 0, "contradicted": 1, "undetermined": 0},
    }


def test_undetermined_claims_fold_away_unless_they_hold_at_reduced_scale() -> None:
    kinds = [("undetermined", "holds"), ("undetermined", "open"), ("contradicted", "open")]
    verdict, reduced = zip(*kinds, ("reproduced", ""), strict=True)
    made = claims().assign(
        verdict=verdict, reduced=reduced, experiment=["main", "main", "main", "none"]
    )
    view = claims_view(made)
    looks = [[(row[0].look, row[1].text) for row in part.rows] for part in vars(view).values()]
    assert looks == [
        [("contradicted", "? open"), ("undetermined", "▲ holds")],
        [("undetermined", "? open")],
        [("reproduced", "–")],
    ]
    page = Page(title="t", facts=[], findings=[], claims=made)
    source = render(page)
    summaries = re.findall(r"<details><summary>(\d+ claims? [^<]*)<", source)
    assert summaries == ["1 claims undetermined", "1 claims of arithmetic, which need no runs"]
    assert "a number is judged at the paper's recipe alone".replace("'", "&#39;") in source
