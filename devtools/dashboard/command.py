"""`make dashboard`: serve the page until Ctrl-C, or write it with its current data to OUT, as .html or .png."""

import os
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.dashboard import page, server
from devtools.dashboard.reading import Source


def write(source: Source, path: Path) -> None:
    """Write the page with its current data, or a picture of it, by the file's ending."""
    if path.suffix not in (".html", ".png"):
        raise UserError(f"OUT must end in .html or .png, not {path.name!r}")
    try:
        if path.suffix == ".html":
            path.write_text(page.html(reading=source.read()), "utf-8")
        else:
            _picture_writer()(page.html(reading=source.read()), path)
    except OSError as error:
        if error.filename is None:
            raise
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def _picture_writer() -> Callable[[str, Path], None]:
    try:
        from devtools.dashboard import picture  # noqa: PLC0415 - its browser driver is installed for tests only
    except ModuleNotFoundError:
        raise UserError("a picture needs the browser driver; run `make setup` first, or write an .html file") from None
    return picture.write


def serve(source: Source) -> None:
    """Serve the page, open it on a display, and return after Ctrl-C."""
    with server.listening(source.read) as listener:
        ui.console.print(Text.assemble("  ", (listener.url, "bold cyan"), "  updates every few seconds; Ctrl-C ends it"))
        if _has_screen():
            webbrowser.open(listener.url)
        try:
            listener.serve_forever()
        except KeyboardInterrupt:
            ui.console.print("\n  ended")


def _has_screen() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def main(arguments: Namespace) -> None:
    """Serve or write the page."""
    targets.chosen(arguments.stack)
    source = Source(lambda: targets.chosen(arguments.stack))
    if arguments.out:
        write(source, Path(arguments.out))
        ui.done(arguments.out)
    else:
        serve(source)
