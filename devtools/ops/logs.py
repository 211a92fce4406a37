"""The functions' log lines, merged in time order: FUNCTION=name, ORDER=id, SINCE=minutes (15), FOLLOW=1."""

import time

from devtools import cli, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.ops import function_logs
from devtools.ops.function_logs import Line
from devtools.target import STACK, Target

FOLLOW_PAUSE = 1.0
# A line can arrive later than one that is younger.
OVERLAP_MS = 10_000


def chosen(names: list[str], wanted: str) -> list[str]:
    """The functions with this in their name, in any case, with or without hyphens. Raises UserError for none."""
    plain = wanted.lower().replace("-", "")
    found = [name for name in names if plain in name.removeprefix(f"{STACK}-").replace("-", "")]
    if not found:
        listed = ", ".join(name.removeprefix(f"{STACK}-") for name in names)
        raise UserError(f"no function is called {wanted!r}; there are {listed}")
    return found


def main() -> None:
    """Print the lines, and with FOLLOW=1 go on until Ctrl-C."""
    target = targets.from_environment()
    names = chosen(function_logs.functions(target), cli.option("FUNCTION"))
    order = cli.option("ORDER")
    since = int((time.time() - 60 * cli.whole_number("SINCE", 15)) * 1000)
    seen: set[Line] = set()
    follow = cli.option("FOLLOW") not in ("", "0")
    while True:
        lines = [line for line in function_logs.read(target, names, since) if not order or order in line.text]
        _print(target, [line for line in lines if line not in seen])
        seen.update(lines)
        if not follow:
            break
        since = max(since, int(time.time() * 1000) - OVERLAP_MS)
        time.sleep(FOLLOW_PAUSE)
    if not seen:
        ui.console.print("  no log lines yet; SINCE=60 looks an hour back", style="dim")


def _print(target: Target, lines: list[Line]) -> None:
    width = max((len(name.removeprefix(f"{STACK}-")) for name in function_logs.functions(target)), default=0)
    for line in lines:
        ui.console.print(function_logs.shown(line, width=width))


if __name__ == "__main__":
    cli.run(main)
