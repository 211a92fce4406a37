"""Terminal output: stages with their elapsed time, live on a terminal, plain lines elsewhere.

Texts come from logs, events and customers, so they are never markup, and control characters are escaped.
"""

import re
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

WIDTH = 26
BAR = 24

# Control characters (C0 but tab and line feed, C1), direction controls, invisible characters, surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def escaped(text: str) -> str:
    """Escape control and other invisible characters as Python does; tabs and line feeds stay."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Escape as `escaped` does, and tabs and line feeds as well, so that a text is one line."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


class SafeConsole(Console):
    """A console that escapes all text; rich's own colors and cursor movements stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text), segment.style)


console = SafeConsole(highlight=False, soft_wrap=True, markup=False, emoji=False)
if not console.is_terminal:
    # Files and pipes have no width: nothing is truncated there.
    console.width = 200


def seconds(value: float) -> str:
    """Format seconds: 0.4 s, 12.3 s, 1 min 05 s."""
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60):02d} s"


@dataclass
class Stage:
    """A long step. `detail` is its progress, finally its result; `share` is the completed part and draws a bar."""

    title: str
    detail: str = ""
    share: float | None = None
    began: float = field(default_factory=time.monotonic)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def line(self, mark: str, style: str) -> Text:
        """Return the stage as one line."""
        drawn = "" if self.share is None else f"{'━' * round(self.share * BAR):<{BAR}}  "
        parts = [(f"  {mark} ", style), f"{self.title:<{WIDTH}}", (f"{self._elapsed():>12}  ", "dim"), (drawn, style), (self.detail, "dim")]
        return Text.assemble(*parts)

    def _elapsed(self) -> str:
        return seconds(time.monotonic() - self.began)

    def __rich__(self) -> Text:
        frame = self._spinner.render(time.monotonic())
        return self.line(frame.plain if isinstance(frame, Text) else "…", "cyan")


@contextmanager
def stage(title: str) -> Generator[Stage]:
    """Show a stage while the block runs, and its result."""
    step = Stage(title)
    if not console.is_terminal:
        console.print(f"  … {title}")
    mark, style = "✗", "red"
    try:
        with Live(step, console=console, transient=True, refresh_per_second=10) if console.is_terminal else _nothing():
            yield step
        mark, style = "✓", "green"
    finally:
        console.print(step.line(mark, style))


@contextmanager
def _nothing() -> Generator[None]:
    yield


def headline(text: str) -> None:
    """Print a heading."""
    console.print(Text(f"\n{text}", style="bold"))


def done(title: str, detail: str = "") -> None:
    """Print a line about a completed step."""
    console.print(
        Text.assemble("  ", ("✓", "green"), f" {title:<{WIDTH - 1}} ", (detail, "dim"))
        if detail
        else Text.assemble("  ", ("✓", "green"), f" {title}")
    )
