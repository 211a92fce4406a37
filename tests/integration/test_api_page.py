"""Swagger UI in a browser, trying requests on a deployed stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from devtools import web
from devtools.page_server import PageServer
from devtools.trial import api_page
from tests.integration.deployed_stack import DeployedStack
from tests.support import browser as browsers


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    yield from browsers.browser_or_skip()


@pytest.fixture(scope="module")
def server(stack: DeployedStack) -> Iterator[PageServer]:
    """The page's server for the stack."""
    with api_page.server(0, stack.target, "ann") as listener, browsers.running(listener):
        yield listener


@pytest.fixture
def page(browser: Browser, server: PageServer) -> Iterator[Page]:
    """Yield the open page; afterwards assert that no script failed and that only its server and the API got requests."""
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(browsers.TIMEOUT_SECONDS * 1000)
    problems: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    yield page
    assert problems == []
    assert [url for url in asked if not url.startswith((server.url, server.api, "data:", "blob:"))] == []
    page.close()


def tried(page: Page, operation: str) -> Locator:
    """Execute an operation with its example values, and return the locator of its answer."""
    block = page.locator(f"[id$='-{operation}']")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table")


@pytest.mark.parametrize(("operation", "status", "text"), [("listProducts", "200", "MUG-BLUE"), ("placeOrder", "201", "order_id")])
def test_example_request_is_executed(page: Page, operation: str, status: str, text: str):
    answer = tried(page, operation)
    expect(answer.locator(".response-col_status").last).to_have_text(status)
    expect(answer.locator(".response-col_description").last).to_contain_text(text)


def test_protected_requests_require_authorization(page: Page):
    expect(page.get_by_role("button", name="authorization button locked").first).to_be_visible()
    answer = tried(page, "listOrders")
    expect(answer.locator(".response-col_status").last).to_have_text("200")


def test_page_answers_this_machine_only(server: PageServer):
    assert web.call("GET", f"{server.url}config.json", headers={"Host": "evil.example.com"}).status == 403
    assert "script-src 'self';" in web.call("GET", server.url).headers["content-security-policy"]
