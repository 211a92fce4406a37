"""The dashboard of the deployed stack, as `make dashboard` serves it and a browser shows it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from devtools.dashboard.reading import Source
from devtools.target import ROOT, Target
from tests.integration.world import World, eventually
from tests.support import browser as browsers
from tests.support.browser import looking, serving

# No other test sells for it.
CURRENCY = "NOK"
# The same product in every run: with so many units at a time it stays among the best sellers, at a price that is not suspicious.
# No customer may hold more of a product unpaid, and no payment may be smaller.
SKU, UNITS, PRICE = "T-DASHBOARD", 100, 300


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    yield from browsers.started()


def _command(world: World, **options: str) -> subprocess.Popen[str]:
    settings = {"BACKEND": world.target.backend, "ENDPOINT": world.target.endpoint, "PYTHONPATH": "functions"}
    # What a script runs in the background ignores Ctrl-C, and hands that on to what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "devtools.dashboard"],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "DISPLAY"} | settings | options,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    """Where the dashboard is, once it says so; it ends like anything else that Ctrl-C ends."""
    process = _command(world)
    # What says nothing at all does not hold up the tests for ever.
    watch = threading.Timer(world.patience, process.kill)
    watch.start()
    assert process.stdout
    found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
    watch.cancel()
    assert found, process.communicate()
    yield found[0]
    process.send_signal(signal.SIGINT)
    try:
        told, errors = process.communicate(timeout=world.patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert (process.returncode, told.split(), errors) == (0, ["ended"], "")


def _texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def _orders(page: Page) -> int:
    return int(page.locator("#tile-orders").inner_text().replace(",", ""))


def _units(page: Page, sku: str) -> int:
    # Both at once: the page may draw anew at any time.
    texts = "(card) => ['.ytick text', '.bartext'].map((kind) => [...card.querySelectorAll(kind)].map((one) => one.textContent))"
    names, units = page.locator("#products").evaluate(texts)
    return int(dict(zip(names, units, strict=True)).get(sku, "0").replace(",", ""))


def test_the_page_follows_an_order(world: World, browser: Browser, url: str) -> None:
    customer = world.customer()
    world.shelve(SKU, 2 * UNITS, price=PRICE, currency=CURRENCY)
    assert world.outcome(customer, world.buy(customer, SKU)) == "confirmed"
    with looking(browser, url) as looked:
        page = looked.page
        expect(page.locator("#states .bars path").first).to_be_visible()
        assert "confirmed" in _texts(page, "#states .ytick text")
        assert "mail" in _texts(page, "#queues .ytick text")
        orders, units = _orders(page), _units(page, SKU)
        assert orders > 0

        assert world.outcome(customer, world.buy(customer, SKU, UNITS)) == "confirmed"
        eventually(lambda: _orders(page), lambda seen: seen > orders, within=world.patience, what="another order on the page")

        def summed_up() -> int:
            # They are summed up every minute, or when somebody asks for it.
            world.invoke("AnalyticsAggregate", {})
            return _units(page, SKU)

        eventually(summed_up, lambda seen: seen >= units + UNITS, within=2 * world.patience, what="the units on the page")
        revenue = page.locator("#revenue .annotation-text", has_text=f"{CURRENCY}, together")
        expect(revenue).to_contain_text(re.compile(rf"{CURRENCY} [\d,]*\d\.\d\d$"))
        expect(page.locator("#outcomes .ytick text", has_text="confirmed")).to_be_visible()


def test_a_dead_letter_is_alarming_until_it_is_gone(world: World, browser: Browser, url: str) -> None:
    sqs, queue = world.target.client("sqs"), world.target.resources["OrderViewRuleDeadLetters"]
    with looking(browser, url) as looked:
        page = looked.page
        expect(page.locator("main[data-drawn]")).to_be_attached()
        line = page.get_by_role("alert").locator("li", has_text="order-view-rule-dead-letters: 1 message")
        expect(line).to_have_count(0)

        sqs.send_message(QueueUrl=queue, MessageBody="{}")
        expect(line).to_contain_text("make redrive QUEUE=order-view-rule")
        expect(page.locator("#queues .ytick text", has_text="order-view-rule-dead-letters")).to_be_visible()
        expect(page).to_have_title(re.compile("dead letter"))

        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        expect(line).to_have_count(0)


def test_a_page_waits_for_a_target_that_is_gone(world: World, browser: Browser) -> None:
    targets = [Target("embedded", "http://127.0.0.1:1", managed=False)]
    source = Source(lambda: targets[-1])
    with serving(source.read, refresh_seconds=0.5) as listener, looking(browser, listener.url, without_errors=False) as looked:
        page = looked.page
        expect(page.get_by_role("status")).to_contain_text(
            "Nothing answers at http://127.0.0.1:1; run `make run` first. This page goes on trying."
        )
        targets.append(world.target)
        expect(page.get_by_role("status")).to_be_hidden()
        expect(page.locator("#as-of")).to_contain_text(world.target.endpoint)
        expect(page.locator("#queues .ytick text").first).to_be_visible()


def test_this_moment_is_kept_as_a_page_and_as_a_picture(world: World, browser: Browser, tmp_path: Path) -> None:
    for name in ("page.html", "page.png"):
        process = _command(world, OUT=str(tmp_path / name))
        told, errors = process.communicate(timeout=4 * world.patience)
        assert (process.returncode, errors) == (0, ""), told
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    file = (tmp_path / "page.html").as_uri()
    with looking(browser, file) as looked:
        expect(looked.page.locator("#as-of")).to_contain_text(world.target.endpoint)
        expect(looked.page.locator("#queues .ytick text").first).to_be_visible()
    assert looked.asked == [file]
