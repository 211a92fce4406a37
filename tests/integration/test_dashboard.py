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
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from devtools.target import ROOT
from tests.integration.world import World
from tests.support import browser as browsers
from tests.support.browser import looking

# No other test sells for it.
CURRENCY = "NOK"
# So many that the product is among the best sellers, at a price that makes nobody doubt the order.
UNITS, PRICE = 900, 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    yield from browsers.started()


def _command(world: World, **options: str) -> subprocess.Popen[str]:
    settings = {"BACKEND": world.target.backend, "ENDPOINT": world.target.endpoint, "PYTHONPATH": "functions"}
    return subprocess.Popen(
        [sys.executable, "-m", "devtools.dashboard"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DISPLAY"} | settings | options,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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
    told, errors = process.communicate(timeout=world.patience)
    assert (process.returncode, told.split(), errors) == (0, ["ended"], "")


def _texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def _number(page: Page, tile: str) -> int:
    return int(page.locator(f"#tile-{tile}").inner_text().replace(",", ""))


def test_the_page_follows_an_order(world: World, browser: Browser, url: str) -> None:
    customer, sku = world.customer(), world.product(2 * UNITS, price=PRICE, currency=CURRENCY)
    assert world.outcome(customer, world.buy(customer, sku)) == "confirmed"
    with looking(browser, url) as looked:
        page = looked.page
        expect(page.locator("#states .bars path").first).to_be_visible()
        before = _number(page, "orders")
        assert before > 0
        assert "confirmed" in _texts(page, "#states .ytick text")

        assert world.outcome(customer, world.buy(customer, sku, UNITS)) == "confirmed"
        expect(page.locator("#tile-orders")).not_to_have_text(f"{before:,}")
        assert _number(page, "orders") > before

        world.queue_drained("AnalyticsCountQueueUrl")
        seller = page.locator("#products .ytick text", has_text=sku)
        _summed_up(world, seller)
        place = _texts(page, "#products .ytick text").index(sku)
        assert int(_texts(page, "#products .bartext")[place].replace(",", "")) >= UNITS
        expect(page.locator("#revenue .annotation-text", has_text=f"{CURRENCY}, together")).to_contain_text(
            re.compile(r"NOK [\d,]*\d\.\d\d$")
        )
        expect(page.locator("#outcomes .ytick text", has_text="confirmed")).to_be_visible()
        assert "mail" in _texts(page, "#queues .ytick text")


def _summed_up(world: World, mark: Any) -> None:
    # What is counted is summed up every minute, or when it is asked for; events may come late.
    for _ in range(3):
        world.invoke("AnalyticsRecalculate", {})
        try:
            expect(mark).to_be_visible(timeout=world.patience * 1000 / 4)
        except AssertionError:
            continue
        return
    expect(mark).to_be_visible()


def test_a_dead_letter_is_alarming_until_it_is_gone(world: World, browser: Browser, url: str) -> None:
    sqs, queue = world.target.client("sqs"), world.target.resources["OrderViewRuleDeadLettersUrl"]
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
