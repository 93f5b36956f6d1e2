"""The report as one HTML file that needs nothing beside itself, neither network nor other files."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.claims.numbers import NUMBER_ALONE
from analysis.output import save
from analysis.report.table_views import TableView, claims_view, count_views, table_view

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from analysis.exhibits.exhibit import Exhibit

TEMPLATES = Path(__file__).parent / "template"
LARGEST_SVG = 250_000  # bytes; beyond, a PNG is lighter and no less sharp on a screen
LARGEST_DOWNLOAD = 500_000  # bytes of text that the report carries inside it
ROWS_SHOWN = 200  # of the numbers behind a figure; more are for a program to read
PIXELS_PER_INCH = 96  # of CSS
WIDE = 640  # pixels
MIME_TYPES = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}
TEXT_NAMES = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}


@dataclass(frozen=True)
class Image:
    """A picture inside the report; width and height in CSS pixels."""

    uri: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether a phone scrolls it, as shrunk to the screen it could not be read."""
        return self.width > WIDE


@dataclass(frozen=True)
class Download:
    """A text inside the report: as a file to keep, and to copy where downloads are forbidden."""

    name: str
    file: str
    uri: str
    content: str
    shown: bool


@dataclass(frozen=True)
class Shown:
    """An exhibit as the report shows it."""

    anchor: str
    heading: str
    contents: str
    title: str
    experiment: str
    caption: str
    image: Image | None
    table: TableView | None
    note: str
    downloads: Sequence[Download]
    place: str


@dataclass(frozen=True)
class Missing:
    """An exhibit that could not be made."""

    heading: str
    reason: str


@dataclass(frozen=True)
class RunsText:
    """What is said of an experiment's runs."""

    experiment: str
    text: str


@dataclass(frozen=True)
class Page:
    """All that the report says.

    Attributes
    ----------
    facts
        What it is made from: name and value.
    claims, claims_files
        From `analysis.claims.command.judge`, and its texts by format.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[str]
    claims: pd.DataFrame
    claims_files: Mapping[str, str] = field(default_factory=dict)
    exhibits: Sequence[Shown] = ()
    missing: Sequence[Missing] = ()
    runs: Sequence[RunsText] = ()


@dataclass(frozen=True)
class _Section:
    title: str
    anchor: str
    exhibits: Sequence[Shown]


def render(page: Page) -> str:
    """The HTML text.

    What comes from the store is escaped. Beyond that, the page's own policy lets a browser load
    nothing but inline images, and run the report's own script alone, told by its hash.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((TEMPLATES / f"report.{kind}").read_text("utf-8") for kind in ("css", "js"))
    claims = None
    if not page.claims.empty:
        texts = downloads("claims", page.claims_files)
        claims = {
            "view": claims_view(page.claims),
            "number_alone": NUMBER_ALONE,
            "downloads": texts,
        }
    return environment.get_template("report.html.j2").render(
        title=page.title,
        policy=_policy(style, script),
        style=style,
        script=script,
        facts=page.facts,
        findings=page.findings,
        counts=count_views(page.claims),
        claims=claims,
        sections=_sections(page.exhibits),
        missing=page.missing,
        runs=page.runs,
    )


def show(
    exhibit: Exhibit, texts: Mapping[str, str], anchor: str, files: Sequence[Path] = ()
) -> Shown:
    """An exhibit as the report shows it, with its figure in it.

    Parameters
    ----------
    texts
        Format (csv, md, tex) to the text of its table.
    anchor
        Unique in the report; also names what is downloaded.
    files
        Of its figure, as `OutputFolder.figure` wrote them.
    """
    table, note = None, ""
    if exhibit.table is not None:
        if exhibit.figure is None or len(exhibit.table) <= ROWS_SHOWN:
            table = table_view(exhibit.table)
        else:
            note = f"The {len(exhibit.table):,} numbers behind it are in the CSV file."
    carried = {kind: text for kind, text in texts.items() if len(text.encode()) <= LARGEST_DOWNLOAD}
    if len(carried) < len(texts):
        note += f" {anchor}.csv is too large for this page and lies beside it."
    return Shown(
        anchor=anchor,
        heading=heading(exhibit),
        contents=heading(exhibit),
        title=exhibit.title,
        experiment=exhibit.experiment,
        caption=exhibit.caption,
        image=None if exhibit.figure is None else image(exhibit.figure, files),
        table=table,
        note=note.strip(),
        downloads=downloads(anchor, carried),
        place=exhibit.place,
    )


def heading(exhibit: Exhibit) -> str:
    """Where it is in the paper, if it is there, and its title."""
    title = exhibit.title[:1].upper() + exhibit.title[1:]
    return f"{exhibit.place}: {title}" if exhibit.place else title


def image(figure: Figure, files: Sequence[Path] = ()) -> Image:
    """A figure as SVG with its letters as outlines, or as PNG where that is lighter.

    Parameters
    ----------
    files
        Of the same figure, drawn already: of them its SVG says whether one with outlines, which is
        larger still, need be drawn, and its PNG is taken as it is.
    """
    width, height = (round(PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    kind, drawn = "svg+xml", _outlined(figure, _file(files, ".svg"))
    if drawn is None:
        kind, png = "png", _file(files, ".png")
        drawn = png.read_bytes() if png else _drawn(figure, "png")
    return Image(_data_uri(f"image/{kind}", drawn), width, height)


def _outlined(figure: Figure, lettered: Path | None) -> bytes | None:
    """A figure as SVG with its letters as outlines; None where that is too large."""
    import matplotlib as mpl

    if lettered and lettered.stat().st_size > LARGEST_SVG:
        return None
    with mpl.rc_context({"svg.fonttype": "path"}):
        drawn = _drawn(figure, "svg")
    return drawn if len(drawn) <= LARGEST_SVG else None


def _file(files: Sequence[Path], suffix: str) -> Path | None:
    return next((path for path in files if path.suffix == suffix), None)


def _drawn(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    save(figure, buffer, suffix)
    return buffer.getvalue()


def downloads(stem: str, texts: Mapping[str, str]) -> list[Download]:
    """Texts by format (csv, md, tex) as files inside the report; CSV is not shown as text."""
    return [
        Download(
            name=TEXT_NAMES[kind],
            file=f"{stem}.{kind}",
            uri=_data_uri(f"{MIME_TYPES[kind]};charset=utf-8", text.encode()),
            content=text,
            shown=kind != "csv",
        )
        for kind, text in texts.items()
    ]


def _data_uri(mime_type: str, content: bytes) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def _policy(style: str, script: str) -> str:
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )


def _sections(exhibits: Sequence[Shown]) -> list[_Section]:
    parts = {
        ("The paper's figures", "figures"): [s for s in exhibits if s.place and s.image],
        ("The paper's tables", "tables"): [s for s in exhibits if s.place and not s.image],
        ("Beyond the paper", "beyond"): [s for s in exhibits if not s.place],
    }
    return [_Section(*name, shown) for name, shown in parts.items() if shown]
