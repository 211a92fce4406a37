"""Print the functions' log lines in time order; with FOLLOW=1, until Ctrl-C."""

import time
from argparse import Namespace

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError
from devtools.ops import function_logs
from devtools.ops.function_logs import LogLine
from devtools.target import STACK, Target

FOLLOW_PAUSE = 1.0
# Lines can arrive out of order.
OVERLAP_MS = 10_000


def matching(names: list[str], wanted: str, stack: str = STACK) -> list[str]:
    """Return the functions whose name contains `wanted`, ignoring case and hyphens. Raises UsageError when there are none."""
    plain = wanted.lower().replace("-", "")
    found = [name for name in names if plain in name.removeprefix(f"{stack}-").replace("-", "")]
    if not found:
        listed = ", ".join(name.removeprefix(f"{stack}-") for name in names)
        raise UsageError(f"FUNCTION must be part of a function's name ({listed}), not {wanted!r}")
    return found


def main(arguments: Namespace) -> None:
    """Print the lines."""
    target = targets.chosen(arguments.stack)
    names = matching(function_logs.functions(target), arguments.function, target.stack)
    order: str = arguments.order
    since = int((time.time() - 60 * arguments.since) * 1000)
    seen: set[LogLine] = set()
    while True:
        lines = [line for line in function_logs.read(target, names, since) if not order or order in line.text]
        _print(target, [line for line in lines if line not in seen])
        seen.update(lines)
        if not arguments.follow:
            break
        since = max(since, int(time.time() * 1000) - OVERLAP_MS)
        time.sleep(FOLLOW_PAUSE)
    if not seen:
        ui.console.print("  no log lines; SINCE=60 looks an hour back", style="dim")


def _print(target: Target, lines: list[LogLine]) -> None:
    width = max((len(name.removeprefix(f"{target.stack}-")) for name in function_logs.functions(target)), default=0)
    for line in lines:
        ui.console.print(function_logs.rendered(line, width=width))
