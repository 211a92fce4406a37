"""Runs the dashboard's server and opens its page in a real browser."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from devtools.cli import UserError
from devtools.dashboard import picture
from devtools.dashboard.reading import Reading
from devtools.dashboard.server import Server

# Generous, because a busy machine renders slowly.
TIMEOUT_SECONDS = 30.0
expect.set_options(timeout=TIMEOUT_SECONDS * 1000)


def browser_or_skip() -> Iterator[Browser]:
    """Yield this machine's browser. Without one the test is skipped, except in CI, where it fails."""
    try:
        opened = picture.browser()
        browser = opened.__enter__()
    except UserError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        yield browser
    finally:
        opened.__exit__(None, None, None)


@dataclass
class LoadedPage:
    """An open page, the errors on its console, and the URLs that it requested."""

    page: Page
    errors: list[str] = field(default_factory=list[str])
    requested: list[str] = field(default_factory=list[str])


@contextmanager
def open_page(browser: Browser, url: str, *, without_errors: bool = True, **page_options: Any) -> Iterator[LoadedPage]:
    """Open a page; afterwards assert that it logged no error and requested nothing from another server.

    `page_options` are those of Playwright's `new_page`: viewport, color_scheme.
    """
    page = browser.new_page(**page_options)
    page.set_default_timeout(TIMEOUT_SECONDS * 1000)
    loaded = LoadedPage(page)
    page.on("console", lambda message: loaded.errors.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: loaded.errors.append(str(error)))
    page.on("request", lambda request: loaded.requested.append(request.url))
    try:
        page.goto(url)
        yield loaded
        assert [one for one in loaded.requested if not one.startswith((url, "data:"))] == []
        if without_errors:
            assert loaded.errors == []
    finally:
        page.close()


@contextmanager
def serving(read: Callable[[], Reading], refresh_seconds: float = 0.0) -> Iterator[Server]:
    """Run the dashboard's server within the context."""
    with Server(0, read, refresh_seconds) as listener, running(listener):
        yield listener


@contextmanager
def running(listener: ThreadingHTTPServer) -> Iterator[None]:
    """Answer requests to a server in a thread within the context."""
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        listener.shutdown()
        thread.join()
