"""Write a picture of the page with the Chromium of this machine."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

from devtools.cli import UserError

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = tuple(
    Path(folder, f"{name}.app", "Contents", "MacOS", name) for folder in ("/Applications",) for name in ("Chromium", "Google Chrome")
)
MISSING = "no browser found for the picture; install one (Debian: apt-get install chromium), or name it: CHROMIUM=/path/to/it"
WIDTH, HEIGHT = 1280, 900


def browser_path() -> str | None:
    """Return the path of the browser: CHROMIUM, or a Chromium or Chrome of this machine, or None."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    found = filter(None, map(shutil.which, NAMES))
    return next(found, None) or next((str(path) for path in APPLICATIONS if path.exists()), None)


@contextmanager
def browser() -> Generator[Browser]:
    """Start a browser without a window. Raises UserError when there is none, or it does not start."""
    path = browser_path()
    if not path:
        raise UserError(MISSING)
    with sync_playwright() as driver:
        try:
            started = driver.chromium.launch(executable_path=path)
        except Error as error:
            raise UserError(f"{path} does not start: {error.message.splitlines()[0]}") from None
        with started:
            yield started


def write(html: str, path: Path) -> None:
    """Write a screenshot of the full page as a PNG."""
    with browser() as started, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(html, "utf-8")
        view = started.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        view.goto(file.as_uri())
        view.locator("main[data-drawn]").wait_for()
        view.screenshot(path=path, full_page=True)
