"""`make help`: the commands, from the Makefile's comments and `devtools.commands`; needs the standard library of Python 3.8 alone."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devtools import options
from devtools.commands import COMMANDS
from devtools.options import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
COLUMN = 18
FOOTER = (
    "Options: make help COMMAND=trace. All targets: make help-all, or of a group: make help GROUP=checks.",
    "Local commands without PORT=… use the emulator that was started last.",
)


def groups() -> dict[str, list[tuple[str, str, bool]]]:
    """Return the targets by group, in the order of the Makefile: name, summary, and whether the short help shows it."""
    found: dict[str, list[tuple[str, str, bool]]] = {}
    group = ""
    for line in MAKEFILE.read_text("utf-8").splitlines():
        if heading := re.match(r"##@ (.*)", line):
            group = heading[1]
            found[group] = [(one.name, one.summary, one.daily) for one in COMMANDS.values() if one.group == group]
        elif target := re.match(r"([a-z][a-z-]*):.*?##(\+?) (.*)", line):
            found[group].append((target[1], target[3], target[2] == ""))
    return found


def lines(*, everything: bool, group: str = "") -> list[str]:
    """Return the help: all targets or those of daily work, of all groups or of those whose name contains `group`.

    Exits with 2 where no group does.
    """
    known = groups()
    chosen = {name: entries for name, entries in known.items() if group.lower() in name.lower()}
    if not chosen:
        options.refuse(f"GROUP must be part of one of {', '.join(known)}, not {group!r}")
    text: list[str] = []
    for name, entries in chosen.items():
        rows = [f"  {target:<{COLUMN}}{summary}" for target, summary, daily in entries if daily or everything]
        text += [name, *rows] if rows else []
    return text if everything else [*text, "", *FOOTER]


def main(words: Sequence[str]) -> None:
    """Print the help of everything (`--all`), of make's GROUP or COMMAND, or of daily work."""
    given = set(os.environ.get(options.MAKE_VARIABLES, "").split())
    name = os.environ.get("COMMAND", "").strip() if "COMMAND" in given else ""
    group = os.environ.get("GROUP", "").strip() if "GROUP" in given else ""
    if name and name not in COMMANDS:
        options.refuse(f"COMMAND must be one of {', '.join(COMMANDS)}, not {name!r}")
    if name:
        Parser(COMMANDS[name]).print_help()
    else:
        print("\n".join(lines(everything="--all" in words or bool(group), group=group)))


if __name__ == "__main__":
    main(sys.argv[1:])
