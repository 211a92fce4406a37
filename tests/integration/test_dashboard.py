"""The dashboard of a deployed stack, served by `make dashboard` and rendered by a browser."""

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
from tests.integration.deployed_stack import DeployedStack, eventually
from tests.support import browser as browsers
from tests.support.browser import open_page, serving

# A currency that no other test uses.
CURRENCY = "NOK"
# The same product in every run, sold in the largest quantity, is always a best seller. The price is the smallest that can be charged
# for it without a review.
SKU, UNITS, PRICE = "T-DASHBOARD", 100, 300


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    yield from browsers.browser_or_skip()


def _command(stack: DeployedStack, *options: str) -> subprocess.Popen[str]:
    settings = {"BACKEND": stack.target.backend, "ENDPOINT": stack.target.endpoint, "STACK": stack.target.stack}
    # A background process of a script ignores SIGINT, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "devtools", "dashboard", *options],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "DISPLAY"} | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def url(stack: DeployedStack) -> Iterator[str]:
    """The URL that the dashboard prints; Ctrl-C ends the process."""
    process = _command(stack)
    # A silent process must not block the tests forever.
    watch = threading.Timer(stack.patience, process.kill)
    watch.start()
    assert process.stdout
    found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
    watch.cancel()
    assert found, process.communicate()
    yield found[0]
    process.send_signal(signal.SIGINT)
    try:
        output, errors = process.communicate(timeout=stack.patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert (process.returncode, output.split(), errors) == (0, ["ended"], "")


def _texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def _orders(page: Page) -> int:
    return int(page.locator("#tile-orders").inner_text().replace(",", ""))


def _units(page: Page, sku: str) -> int:
    # Read both in one call: the page may be redrawn at any time.
    texts = "(card) => ['.ytick text', '.bartext'].map((kind) => [...card.querySelectorAll(kind)].map((one) => one.textContent))"
    names, units = page.locator("#products").evaluate(texts)
    return int(dict(zip(names, units, strict=True)).get(sku, "0").replace(",", ""))


def test_page_shows_new_orders(stack: DeployedStack, browser: Browser, url: str) -> None:
    customer = stack.customer()
    stack.add_product(SKU, 2 * UNITS, price=PRICE, currency=CURRENCY)
    assert stack.outcome(customer, stack.buy(customer, SKU)) == "confirmed"
    with open_page(browser, url) as loaded:
        page = loaded.page
        expect(page.locator("#states .bars path").first).to_be_visible()
        assert "confirmed" in _texts(page, "#states .ytick text")
        assert "mail" in _texts(page, "#queues .ytick text")
        orders, units = _orders(page), _units(page, SKU)
        assert orders > 0

        assert stack.outcome(customer, stack.buy(customer, SKU, UNITS)) == "confirmed"
        eventually(lambda: _orders(page), lambda seen: seen > orders, within=stack.patience, what="another order on the page")

        def aggregated() -> int:
            # Aggregation runs every minute and on invocation.
            stack.invoke("AnalyticsAggregate", {})
            return _units(page, SKU)

        eventually(aggregated, lambda seen: seen >= units + UNITS, within=2 * stack.patience, what="the units on the page")
        revenue = page.locator("#revenue .annotation-text", has_text=f"{CURRENCY}, together")
        expect(revenue).to_contain_text(re.compile(rf"{CURRENCY} [\d,]*\d\.\d\d$"))
        expect(page.locator("#outcomes .ytick text", has_text="confirmed")).to_be_visible()


def test_dead_letter_is_an_alert_until_it_is_removed(stack: DeployedStack, browser: Browser, url: str) -> None:
    sqs, queue = stack.target.client("sqs"), stack.target.resources["OrderViewDeadLetters"]
    with open_page(browser, url) as loaded:
        page = loaded.page
        expect(page.locator("main[data-drawn]")).to_be_attached()
        line = page.get_by_role("alert").locator("li", has_text="order-view-dead-letters: 1 message")
        expect(line).to_have_count(0)

        sqs.send_message(QueueUrl=queue, MessageBody="{}")
        expect(line).to_contain_text("make redrive QUEUE=order-view")
        expect(page.locator("#queues .ytick text", has_text="order-view-dead-letters")).to_be_visible()
        expect(page).to_have_title(re.compile("dead letter"))

        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        expect(line).to_have_count(0)


def test_page_retries_until_the_target_answers(stack: DeployedStack, browser: Browser) -> None:
    targets = [Target("embedded", "http://127.0.0.1:1", managed=False)]
    source = Source(lambda: targets[-1])
    with serving(source.read, refresh_seconds=0.5) as listener, open_page(browser, listener.url, without_errors=False) as loaded:
        page = loaded.page
        expect(page.get_by_role("status")).to_contain_text(
            "Nothing answers at http://127.0.0.1:1; run `make run` first. This page retries."
        )
        targets.append(stack.target)
        expect(page.get_by_role("status")).to_be_hidden()
        expect(page.locator("#as-of")).to_contain_text(stack.target.endpoint)
        expect(page.locator("#queues .ytick text").first).to_be_visible()


def test_dashboard_is_saved_as_page_and_picture(stack: DeployedStack, browser: Browser, tmp_path: Path) -> None:
    for name in ("page.html", "page.png"):
        process = _command(stack, "--out", str(tmp_path / name))
        output, errors = process.communicate(timeout=4 * stack.patience)
        assert (process.returncode, errors) == (0, ""), output
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    file = (tmp_path / "page.html").as_uri()
    with open_page(browser, file) as loaded:
        expect(loaded.page.locator("#as-of")).to_contain_text(stack.target.endpoint)
        expect(loaded.page.locator("#queues .ytick text").first).to_be_visible()
    assert loaded.requested == [file]
