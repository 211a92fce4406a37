"""The dashboard's server, and a real browser that opens its page."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from devtools.cli import UserError
from devtools.dashboard import picture
from devtools.dashboard.reading import Reading
from devtools.dashboard.server import Server

# A busy machine renders slowly; a page that takes longer is broken.
PATIENCE_SECONDS = 30.0
expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def started() -> Iterator[Browser]:
    """The browser of this machine. Where there is none the test is skipped, and in CI it fails."""
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
class Looked:
    """A page, the errors of its console, and the addresses that it requested."""

    page: Page
    errors: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])


@contextmanager
def looking(browser: Browser, url: str, *, without_errors: bool = True, **how: Any) -> Iterator[Looked]:
    """Open a page; afterwards assert that it logged no error and requested nothing from another server.

    `how` is what a new page of the browser takes: viewport, color_scheme.
    """
    page = browser.new_page(**how)
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    looked = Looked(page)
    page.on("console", lambda message: looked.errors.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: looked.errors.append(str(error)))
    page.on("request", lambda request: looked.asked.append(request.url))
    try:
        page.goto(url)
        yield looked
        assert [one for one in looked.asked if not one.startswith((url, "data:"))] == []
        if without_errors:
            assert looked.errors == []
    finally:
        page.close()


@contextmanager
def serving(read: Callable[[], Reading], refresh_seconds: float = 0.0) -> Iterator[Server]:
    """Run the dashboard's server within the context."""
    with Server(0, read, refresh_seconds) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listener
        finally:
            listener.shutdown()
            thread.join()
