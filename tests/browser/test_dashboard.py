"""The dashboard's page in a browser, with prepared readings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from devtools.cli import UserError
from devtools.dashboard import page as pages
from devtools.dashboard import picture
from devtools.dashboard.boards import BoardReading, ChartReading, LineReading
from devtools.dashboard.reading import Amount, Outcome, Product, Queue, Reading, Revenue, State
from tests.support import browser as browsers
from tests.support.browser import LoadedPage, open_page, serving

REFRESH_SECONDS = 0.2
QUEUES = (
    Queue("ledger", waiting=2, in_flight=1, dead_letters=False),
    Queue("ledger-dead-letters", waiting=0, in_flight=0, dead_letters=True, redrive="ledger"),
    Queue("mail", waiting=0, in_flight=0, dead_letters=False),
    Queue("mail-dead-letters", waiting=0, in_flight=0, dead_letters=True, redrive="mail"),
    Queue("scheduled-jobs-dead-letters", waiting=0, in_flight=0, dead_letters=True),
)


def _revenue(currency: str, unit: int, amount: int, written: str) -> Revenue:
    minutes = tuple(Amount(f"2026-01-15T09:{minute:02}", 0, f"{currency} 0") for minute in range(59))
    return Revenue(currency, unit, (*minutes, Amount("2026-01-15T09:59", amount, written)), written)


READING = Reading(
    taken_at="2026-01-15T10:00:30Z",
    endpoint="http://127.0.0.1:4566",
    states=(State("placed", 2), State("partly_dispatched", 1), State("rejected", 1234)),
    outcomes=(Outcome("confirmed", 3, 7500), Outcome("payment_declined", 1, 2500)),
    revenue=(_revenue("EUR", 100, 125_000, "EUR 1,250.00"), _revenue("JPY", 1, 900, "JPY 900")),
    products=(Product("MUG-BLUE", 41), Product("FILTER-100", 20)),
    queues=QUEUES,
)
BOARDS = (
    BoardReading(
        "flow",
        "Flow",
        (
            ChartReading(
                "Saga steps, p99",
                "ms",
                (
                    LineReading("reserve", ("2026-01-15T09:58:00", "2026-01-15T09:59:00"), (12.5, 1300.0)),
                    LineReading("confirm <b>", ("2026-01-15T09:59:00",), (7.0,)),
                ),
            ),
            ChartReading("Dead letters", "messages", ()),
        ),
    ),
)
EMPTY = replace(READING, states=(), outcomes=(), revenue=(), products=())


class FakeSource:
    """Provides the server's readings, or raises an exception."""

    def __init__(self) -> None:
        self.now: Reading | UserError = READING

    def read(self) -> Reading:
        """Return the current reading."""
        if isinstance(self.now, UserError):
            raise self.now
        return self.now


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    yield from browsers.browser_or_skip()


@pytest.fixture
def source() -> FakeSource:
    """The readings of the page."""
    return FakeSource()


@contextmanager
def _open(browser: Browser, source: FakeSource, **how: Any) -> Iterator[LoadedPage]:
    with serving(source.read, REFRESH_SECONDS) as listener, open_page(browser, listener.url, **how) as loaded:
        loaded.page.locator("main[data-drawn]").wait_for(state="attached")
        yield loaded


@pytest.fixture(scope="module")
def constant_page(browser: Browser) -> Iterator[Page]:
    """Yield a page with constant data, for tests that only read it."""
    with _open(browser, FakeSource()) as loaded:
        yield loaded.page


def _labels(page: Page, card: str) -> list[str]:
    return page.locator(f"#{card} .ytick text").all_text_contents()


def _bars(page: Page, card: str) -> Locator:
    return page.locator(f"#{card} .plot .bars path")


def _widths(page: Page, card: str) -> list[float]:
    return [box["width"] for bar in _bars(page, card).all() if (box := bar.bounding_box())]


def _colours(trace: Locator) -> set[str]:
    return {path.evaluate("(one) => one.style.stroke || one.style.fill") for path in trace.locator("path").all()}


def _table(page: Page, card: str) -> list[list[str]]:
    page.locator(f"#{card} details:not([open]) summary").click()
    rows = page.locator(f"#{card} tbody tr")
    expect(rows.first).to_be_visible()
    return [row.locator("th, td").all_text_contents() for row in rows.all()]


def test_plots_have_a_labeled_bar_for_each_number(constant_page: Page) -> None:
    assert _labels(constant_page, "states") == ["placed", "partly dispatched", "rejected"]
    assert constant_page.locator("#states .bartext").all_text_contents() == ["2", "1", "1,234"]
    assert _labels(constant_page, "outcomes") == ["confirmed", "payment declined"]
    assert constant_page.locator("#outcomes .bartext").all_text_contents() == ["3 · 75.0 %", "1 · 25.0 %"]
    assert _labels(constant_page, "products") == ["MUG-BLUE", "FILTER-100"]
    first, second = _widths(constant_page, "products")
    assert first / second == pytest.approx(41 / 20, rel=0.02)
    assert _labels(constant_page, "queues") == ["ledger", "mail"]
    expect(constant_page.locator("#queues .note")).to_have_text("All 3 dead-letter queues are empty.")
    expect(constant_page.locator("#as-of")).to_contain_text("10:00:30 UTC")


def test_tiles_show_the_totals(constant_page: Page) -> None:
    assert constant_page.locator("#tiles dd").all_text_contents() == ["1,237", "EUR 1,250.00JPY 900", "75.0 %", "3", "none"]


def test_each_currency_has_its_own_axis_in_whole_units(constant_page: Page) -> None:
    assert constant_page.locator("#revenue .annotation-text").all_text_contents() == [
        "EUR, together EUR 1,250.00",
        "JPY, together JPY 900",
    ]
    euros, yen = (constant_page.locator(f"#revenue .{axis} text").all_text_contents() for axis in ("ytick", "y2tick"))
    assert (euros[-1], yen[-1]) == ("1,000", "500")
    expect(constant_page.locator("#revenue .xtitle")).to_have_text("minute (UTC)")


def test_each_plot_has_a_table(constant_page: Page) -> None:
    assert _table(constant_page, "states") == [["placed", "2"], ["partly dispatched", "1"], ["rejected", "1,234"]]
    assert _table(constant_page, "outcomes") == [["confirmed", "3", "75.0 %"], ["payment declined", "1", "25.0 %"]]
    assert _table(constant_page, "products") == [["MUG-BLUE", "41"], ["FILTER-100", "20"]]
    assert _table(constant_page, "revenue") == [["2026-01-15 09:59", "EUR 1,250.00", "JPY 900"]]
    queues = _table(constant_page, "queues")
    assert queues[0] == ["ledger", "2", "1", ""]
    assert {row[0] for row in queues} == {one.name for one in QUEUES}


def test_every_plot_has_a_label_for_screen_readers(constant_page: Page) -> None:
    names = [one.get_attribute("aria-label") for one in constant_page.locator(".plot[role=img]").all()]
    assert names == [
        "Revenue of the last hour: EUR 1,250.00, JPY 900",
        "Orders by state: placed 2, partly dispatched 1, rejected 1,234",
        "Orders by outcome: confirmed 3 · 75.0 %, payment declined 1 · 25.0 %",
        "Units sold: MUG-BLUE 41, FILTER-100 20",
        "Messages in queues: ledger 3, mail 0",
    ]
    expect(constant_page.get_by_role("region", name="Orders by state")).to_be_visible()


def test_page_updates_only_changed_plots(browser: Browser, source: FakeSource) -> None:
    with _open(browser, source) as loaded:
        page = loaded.page
        page.locator("#states summary").click()
        page.evaluate("document.querySelectorAll('svg.main-svg, .bars path').forEach((one) => { one.dataset.before = '' })")
        marked = page.locator("[data-before]").count()
        assert marked

        source.now = replace(READING, taken_at="2026-01-15T10:00:33Z")
        expect(page.locator("#as-of")).to_contain_text("10:00:33 UTC")
        assert page.locator("[data-before]").count() == marked

        source.now = replace(READING, states=(State("placed", 2), State("confirmed", 7)))
        expect(page.locator("#states .bartext")).to_have_text(["2", "7"])
        expect(page.locator("#states tbody tr")).to_have_text(["placed2", "confirmed7"])
        expect(page.locator("#tile-orders")).to_have_text("9")
        expect(page.locator("#states svg.main-svg[data-before]").first).to_be_attached()


def test_dead_letters_are_highlighted(browser: Browser, source: FakeSource) -> None:
    with _open(browser, source) as loaded:
        page = loaded.page
        expect(page.get_by_role("alert")).to_be_hidden()

        dead = {"mail-dead-letters": 2, "scheduled-jobs-dead-letters": 1}
        source.now = replace(READING, queues=tuple(replace(one, waiting=dead.get(one.name, one.waiting)) for one in QUEUES))
        alarm = page.get_by_role("alert")
        expect(alarm).to_be_visible()
        expect(alarm.locator("h2")).to_have_text("⚠ 3 dead letters")
        expect(alarm.locator("li")).to_have_text(
            [
                "mail-dead-letters: 2 messages, back to work with make redrive QUEUE=mail",
                "scheduled-jobs-dead-letters: 1 message, to be processed manually",
            ]
        )
        expect(page).to_have_title("⚠ 3 dead letters · Order pipeline")
        expect(page.locator("#tile-dead")).to_have_text("⚠ 3")
        expect(page.locator("#queues .note")).to_have_text("2 of 3 dead-letter queues hold messages.")
        assert _labels(page, "queues") == ["mail-dead-letters", "scheduled-jobs-dead-letters", "ledger", "mail"]
        dead_ones, *others = (_colours(trace) for trace in page.locator("#queues .trace.bars").all())
        assert len(dead_ones) == 1
        assert not dead_ones.intersection(*others)

        source.now = READING
        expect(alarm).to_be_hidden()
        expect(page).to_have_title("Order pipeline")
        expect(page.locator("#tile-dead")).to_have_text("none")


def test_page_keeps_the_last_reading_while_the_target_is_down(browser: Browser, source: FakeSource) -> None:
    with _open(browser, source, without_errors=False) as loaded:
        page = loaded.page
        source.now = UserError("nothing answers at http://127.0.0.1:4566; run `make run` first")
        status = page.get_by_role("status")
        expect(status).to_have_text(
            "Nothing answers at http://127.0.0.1:4566; run `make run` first. This page retries. The data below is of 10:00:30 UTC."
        )
        expect(page.locator("main")).to_have_class("stale")
        expect(page.locator("#tile-orders")).to_have_text("1,237")

        source.now = replace(READING, states=(State("placed", 5),))
        expect(status).to_be_hidden()
        expect(page.locator("main")).not_to_have_class("stale")
        expect(page.locator("#tile-orders")).to_have_text("5")
        assert all("503" in error for error in loaded.errors)


def test_page_opened_before_the_target_retries(browser: Browser, source: FakeSource) -> None:
    source.now = UserError("nothing is deployed at http://127.0.0.1:4566; run `make run` first")
    with serving(source.read, REFRESH_SECONDS) as listener, open_page(browser, listener.url, without_errors=False) as loaded:
        expect(loaded.page.get_by_role("status")).to_contain_text("Nothing is deployed")
        expect(loaded.page.locator("#as-of")).to_have_text("no data yet")
        source.now = READING
        expect(loaded.page.locator("#states .bartext")).to_have_text(["2", "1", "1,234"])


def test_page_reports_a_stopped_server(browser: Browser, source: FakeSource) -> None:
    with serving(source.read, REFRESH_SECONDS) as listener, open_page(browser, listener.url, without_errors=False) as loaded:
        expect(loaded.page.locator("#tile-orders")).to_have_text("1,237")
        listener.shutdown()
        listener.server_close()
        expect(loaded.page.get_by_role("status")).to_contain_text("start it again with make dashboard")


def test_page_without_orders_names_the_next_command(browser: Browser, source: FakeSource) -> None:
    source.now = EMPTY
    with _open(browser, source) as loaded:
        page = loaded.page
        expect(page.locator("#empty")).to_have_text("No orders yet. Place some: make run")
        expect(page.locator("#states")).to_be_hidden()
        assert _labels(page, "queues") == ["ledger", "mail"]
        source.now = READING
        expect(page.locator("#empty")).to_be_hidden()
        expect(page.locator("#states .bartext")).to_have_text(["2", "1", "1,234"])


def test_orders_before_aggregation_are_no_error(browser: Browser, source: FakeSource) -> None:
    source.now = replace(EMPTY, states=READING.states)
    with _open(browser, source) as loaded:
        page = loaded.page
        expect(page.locator("#products .plot")).to_be_hidden()
        expect(page.locator("#products .none")).to_be_visible()
        assert page.locator("#tiles dd").all_text_contents() == ["1,237", "-", "-", "3", "none"]


def test_product_names_are_escaped(browser: Browser, source: FakeSource) -> None:
    name = "</script><img src=x onerror=alert(1)><b>&"
    source.now = replace(READING, products=(Product(name, 1),))
    with _open(browser, source) as loaded:
        assert _table(loaded.page, "products") == [[name, "1"]]
        assert loaded.page.locator("#products img, #products b").count() == 0


def test_page_fits_a_narrow_window(browser: Browser, source: FakeSource) -> None:
    with _open(browser, source, viewport={"width": 400, "height": 800}) as loaded:
        page = loaded.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        for text in page.locator(".plot .bartext, .plot .ytick text").all():
            box, card = text.bounding_box(), text.locator("xpath=ancestor::section").bounding_box()
            assert box
            assert card
            assert card["x"] <= box["x"] <= box["x"] + box["width"] <= card["x"] + card["width"]


def test_page_follows_the_dark_color_scheme(browser: Browser, source: FakeSource) -> None:
    with _open(browser, source, color_scheme="dark") as loaded:
        page = loaded.page
        ink = "getComputedStyle(document.querySelector('#states .bartext')).fill"
        dark = (page.evaluate("getComputedStyle(document.body).backgroundColor"), page.evaluate(ink))
        page.emulate_media(color_scheme="light")
        expect(page.locator("#states .bartext").first).not_to_have_css("fill", dark[1])
        light = (page.evaluate("getComputedStyle(document.body).backgroundColor"), page.evaluate(ink))

    def lightness(colour: str) -> int:
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    # White has a channel sum of 765.
    assert [lightness(one) < 150 for one in (*dark, *light)] == [True, False, False, True]
    assert [lightness(one) > 600 for one in (*dark, *light)] == [False, True, True, False]


def test_saved_page_works_offline(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(pages.html(reading=READING), "utf-8")
    with open_page(browser, file.as_uri()) as loaded:
        expect(loaded.page.locator("#states .bartext")).to_have_text(["2", "1", "1,234"])
        expect(loaded.page.locator("#as-of")).to_have_text("http://127.0.0.1:4566, 2026-01-15 10:00:30 UTC")
    assert loaded.requested == [file.as_uri()]


def test_missing_browser_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(UserError, match="apt-get install chromium"), picture.browser():
        pass


def test_each_chart_of_a_dashboard_has_its_lines_and_table(browser: Browser, source: FakeSource) -> None:
    source.now = replace(READING, boards=BOARDS)
    with _open(browser, source) as loaded:
        page = loaded.page
        expect(page.locator("#board-flow > h2")).to_have_text("Flow")
        assert page.locator("#chart-flow-0 .legendtext").all_text_contents() == ["reserve", "confirm <b>"]
        label = page.locator("#chart-flow-0 .plot").get_attribute("aria-label")
        assert label == "Saga steps, p99: reserve 1,300, confirm <b> 7"
        assert _table(page, "chart-flow-0") == [["2026-01-15 09:59:00", "1,300", "7"], ["2026-01-15 09:58:00", "12.5", ""]]
        expect(page.locator("#chart-flow-1 .none")).to_be_visible()
        expect(page.locator("#chart-flow-1 .plot")).to_be_hidden()


def test_page_without_dashboards_hides_their_section(constant_page: Page) -> None:
    expect(constant_page.locator("#boards")).to_be_hidden()
