"""`make compare`: runs a consumer's captured events on an earlier revision and on the present code, and prints the differences.

Both versions run in local processes on the in-memory AWS. The order log has all events; everything else is empty at
first. A value that differs between two runs of the same code, such as a time of posting, is no difference.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from devtools import cli, ui
from devtools import target as targets
from tests.compare import comparison

DISPLAYED = 20


def main(arguments: Namespace) -> int:
    """Print the differences; return 1 if there are any."""
    events = comparison.read(Path(arguments.events)) if arguments.events else comparison.captured(targets.chosen(arguments.stack))
    found = comparison.compare(arguments.function, arguments.base, events)
    for line in found[:DISPLAYED]:
        ui.console.print(f"  ✗ {line}", style="red")
    if len(found) > DISPLAYED:
        ui.console.print(f"  and {len(found) - DISPLAYED} more", style="dim")
    return 1 if found else 0


if __name__ == "__main__":
    cli.run("compare", main)
