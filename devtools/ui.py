"""The screen: stages with their elapsed time, live where the output is a terminal, plain lines where it is not."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

WIDTH = 26
BAR = 24

console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    # A file or a pipe has no width: nothing is to be cut off there.
    console.width = 200


def seconds(value: float) -> str:
    """A duration in seconds for people: 0.4 s, 12.3 s, 1 min 05 s."""
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60):02d} s"


@dataclass
class Stage:
    """One long step. `detail` is what it is at, and in the end what it came to; `share`, how much of it is done, draws a bar."""

    title: str
    detail: str = ""
    share: float | None = None
    began: float = field(default_factory=time.monotonic)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def line(self, mark: str, style: str) -> Text:
        """The stage as one line of text."""
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
    """Show a step while the block runs, and how it ended."""
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
    """A line that opens a part of the screen."""
    console.print(Text(f"\n{text}", style="bold"))
