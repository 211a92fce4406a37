"""Write sections of docs/performance.md, each of which belongs to a command and begins with its marker."""

from itertools import pairwise
from pathlib import Path

from devtools.target import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
BENCH = "<!-- written by `make bench RECORD=1` -->"
COST = "<!-- written by `make cost RECORD=1` -->"
IDLE = "<!-- written by `make idle-cost RECORD=1` -->"
LOAD = "<!-- written by `make load RECORD=1` -->"
PRODUCTS = "<!-- written by `make load PRODUCTS=200000 RECORD=1` -->"
HOT = "<!-- written by `make load HOT=1 RECORD=1` -->"
INVOICES = "<!-- written by `make load INVOICES=1 RECORD=1` -->"
REBUILD = "<!-- written by `make load REBUILD=1 RECORD=1` -->"
LIMITS = "<!-- maintained manually -->"
# In the order of the page.
_MARKS = (BENCH, COST, IDLE, LOAD, PRODUCTS, HOT, INVOICES, REBUILD, LIMITS)
_TITLE = "# Performance"


def write(mark: str, text: str, path: Path = DOCUMENT) -> None:
    """Replace the section with this marker."""
    parts = _parts(path.read_text("utf-8") if path.exists() else "") | {mark: text.strip()}
    written = [f"{one}\n\n{parts[one]}" for one in _MARKS if one in parts]
    path.write_text("\n\n".join([_TITLE, *written]) + "\n", "utf-8")


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table with text in its first column and numbers in the others."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ("---",) + ("--:",) * (len(columns) - 1), *rows))


def _parts(page: str) -> dict[str, str]:
    places = [*sorted((page.index(mark), mark) for mark in _MARKS if mark in page), (len(page), "")]
    return {mark: page[place + len(mark) : end].strip() for (place, mark), (end, _) in pairwise(places)}
