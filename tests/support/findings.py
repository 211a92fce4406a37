"""Prints the findings of a command that compares versions."""

from __future__ import annotations

from collections.abc import Sequence

from devtools import ui

DISPLAYED = 20


def report(found: Sequence[str]) -> int:
    """Print the first findings and the number of the others; return 1 if there are any."""
    for line in found[:DISPLAYED]:
        ui.console.print(f"  ✗ {line}", style="red")
    if len(found) > DISPLAYED:
        ui.console.print(f"  and {len(found) - DISPLAYED} more", style="dim")
    return 1 if found else 0
