"""The report in a real browser, without network, on a desk and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow_stores import Store
from report_pages import HOSTILE, page, texts
from store_helpers import CONFIGS, write

from analysis.report import command as report
from analysis.report.page import render

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install -e '.[dev]'"
)
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        if not found and not own.exists():
            pytest.skip("needs Chromium or Chrome on the PATH: apt-get install chromium")
        launched = driver.chromium.launch(executable_path=found or own, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(page()), encoding="utf-8")
    return path


class Opened:
    """The report, opened; what the browser complained of, and what it asked the network for."""

    def __init__(self, browser: Browser, file: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def column(self, number: int, table: str = "#table-2") -> list[str]:
        return self.page.locator(f"{table} tbody td:nth-child({number})").all_text_contents()

    def orders(self, table: str = "#table-2") -> list[str | None]:
        headings = self.page.locator(f"{table} th").all()
        return [heading.get_attribute("aria-sort") for heading in headings]

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.fixture
def desk(browser: Browser, file: Path) -> Iterator[Opened]:
    opened = Opened(browser, file, viewport=DESK)
    yield opened
    opened.context.close()


@pytest.fixture
def phone(browser: Browser, file: Path) -> Iterator[Opened]:
    opened = Opened(browser, file, viewport=PHONE, has_touch=True, is_mobile=True)
    yield opened
    opened.context.close()


def test_it_opens_without_a_complaint_and_asks_for_nothing(desk: Opened, file: Path) -> None:
    for summary in desk.page.locator("main summary").all():
        summary.click()
    asked = [url for url in desk.requests if not url.startswith("data:")]
    assert asked == [file.as_uri()]
    assert desk.complaints == []


def test_names_that_want_to_be_markup_do_nothing(desk: Opened) -> None:
    assert desk.page.title() == f"A report {HOSTILE}"
    assert desk.page.locator("#phase-diagram h3").inner_text().startswith(HOSTILE)


def test_the_policy_stops_a_script_that_slips_in(desk: Opened) -> None:
    slip = "const s = document.createElement('script'); s.textContent = 'document.title = 1';"
    desk.page.evaluate(f"{slip} document.body.append(s)")
    assert desk.page.title() == f"A report {HOSTILE}"
    assert [text for text in desk.complaints if "Content Security Policy" in text]


def test_every_figure_is_drawn(desk: Opened) -> None:
    widths = desk.page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 100


def test_a_click_sorts_by_number_and_another_turns_it_round(desk: Opened) -> None:
    before = ["9.5", "100.2", "–", "-3", "20"]
    assert desk.column(2) == before
    button = desk.page.locator("#table-2 th button", has_text="memory")
    button.click()
    assert desk.column(2) == ["-3", "9.5", "20", "100.2", "–"]
    assert desk.column(1) == ["muon", "sgd b2", "momentum", "sgd b10", "adam"]
    assert desk.orders() == ["none", "ascending", "none"]
    button.click()
    assert desk.column(2) == ["100.2", "20", "9.5", "-3", "–"]
    assert desk.orders() == ["none", "descending", "none"]


def test_words_are_sorted_with_their_numbers_in_order(desk: Opened) -> None:
    desk.page.locator("#table-2 th button", has_text="recipe").click()
    assert desk.column(1) == ["adam", "momentum", "muon", "sgd b2", "sgd b10"]


def test_the_keyboard_sorts_too(desk: Opened) -> None:
    desk.page.locator("#claims th button", has_text="Ours").first.focus()
    desk.page.keyboard.press("Enter")
    assert desk.column(5, "#claims") == [
        "9.0 [8.0, 10.0]",
        "25.1 [24.0, 27.0]",
        "100.0 [90.0, 110.0]",
        "–",
    ]
    desk.page.keyboard.press("Space")
    assert desk.orders("#claims")[4] == "descending"


def test_a_table_is_downloaded_as_it_was_written(desk: Opened, tmp_path: Path) -> None:
    with desk.page.expect_download() as download:
        desk.page.locator("#table-2 .downloads a", has_text="LaTeX").click()
    assert download.value.suggested_filename == "table-2.tex"
    assert Path(download.value.path()).read_text(encoding="utf-8") == texts()["tex"]


def test_the_contents_lead_to_an_exhibit(desk: Opened) -> None:
    desk.page.locator("nav a[href='#phase-diagram']").click()
    top = desk.page.locator("#phase-diagram").bounding_box()["y"]
    assert 0 <= top < DESK["height"]


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_page_never_scrolls_sideways(phone: Opened, width: int) -> None:
    phone.page.set_viewport_size({"width": width, "height": 844})
    for summary in phone.page.locator("summary").all():
        summary.click()
    assert phone.overflow() == 0


def test_on_a_phone_wide_tables_and_figures_scroll_inside_their_box(phone: Opened) -> None:
    for box in ("#phase-diagram .scroll", "#figure-3 .picture"):
        inside = phone.page.locator(box).first
        assert inside.evaluate("box => box.scrollWidth - box.clientWidth") > 200
    assert phone.page.locator("#figure-2 img").bounding_box()["width"] <= PHONE["width"]


def test_on_a_phone_the_contents_begin_folded(phone: Opened, desk: Opened) -> None:
    is_open = "details => details.open"
    assert not phone.page.locator("nav details").evaluate(is_open)
    assert desk.page.locator("nav details").evaluate(is_open)


def test_it_works_inside_the_closed_frame_in_which_mlflow_shows_it(
    browser: Browser, file: Path
) -> None:
    opened = browser.new_page(viewport=DESK)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.evaluate(
        """html => {
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.src = URL.createObjectURL(new Blob([html], { type: "text/html" }));
            document.body.append(frame);
        }""",
        file.read_text(encoding="utf-8"),
    )
    frame = opened.frame_locator("iframe")
    frame.locator("#table-2 th button", has_text="memory").click()
    assert frame.locator("#table-2 tbody td:nth-child(2)").first.text_content() == "-3"
    assert complaints == []
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"viewport": DESK}, {"viewport": PHONE, "is_mobile": True}])
def test_the_report_of_a_sweep_opens_with_all_its_figures(
    browser: Browser, store: Store, tmp_path: Path, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    write(store.uri, CONFIGS, experiment="demo")
    assert report.main(["--tracking-uri", store.uri, "--format", "svg"]) == 0
    opened = Opened(browser, Path("report/report.html").resolve(), **options)
    drawn = opened.page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert len(drawn) == len(list(Path("report/figures").glob("*.svg")))
    assert min(drawn) > 100
    assert opened.page.locator("#claims tbody tr").count() > 50
    assert opened.overflow() == 0
    assert opened.complaints == []
    opened.context.close()
