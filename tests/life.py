"""`make life`: writes the tables of docs/life.md, what every command does in every state, from the rules of an order.

The states and commands are those of tests/support/orders.py. A command that no table has joins the last one. States with equal
rows share one; a state whose row is empty has none.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from devtools import cli
from orderflow.domain.commands import Command, Refusal, decide
from orderflow.domain.order import Order
from tests.support import orders
from tests.support.orders import COMMANDS, STATES

PAGE = Path(__file__).parents[1] / "docs" / "life.md"
_HEAD = "| state | "


def outcome(order: Order, command: Command) -> str:
    """Return the events that the command adds, joined by a plus; `.` for none, `no` where it is refused."""
    decided = decide(order, command)
    if isinstance(decided, Refusal):
        return "no"
    return "+".join(type(data).__name__ for data in decided) or "."


def written(text: str) -> str:
    """Return the page with its tables as the rules have them."""
    heads = [_columns(line) for line in text.splitlines() if line.startswith(_HEAD)]
    missing = [name for name in COMMANDS if not any(name in columns for columns in heads)]
    last, lines, within = heads[-1], list[str](), False
    for line in text.splitlines():
        within = line.startswith("|") and (within or line.startswith(_HEAD))
        if line.startswith(_HEAD):
            columns = [name for name in _columns(line) if name in COMMANDS]
            lines += _table([*columns, *missing] if _columns(line) == last else columns)
        elif not within:
            lines.append(line)
    counted = f"{len(STATES)} states and {len(COMMANDS)} commands"
    return re.sub(r"\d+ states and \d+ commands", counted, "\n".join(lines)) + "\n"


def _columns(head: str) -> list[str]:
    return [cell.strip() for cell in head.strip("| ").split("|")][1:]


def _table(commands: list[str]) -> Iterator[str]:
    yield f"{_HEAD}{' | '.join(commands)} |"
    yield f"| {' | '.join(['---'] * (len(commands) + 1))} |"
    states: dict[tuple[str, ...], list[str]] = {}
    for state, history in STATES.items():
        order = orders.after(*history)
        states.setdefault(tuple(_cell(outcome(order, COMMANDS[name])) for name in commands), []).append(state)
    for cells, names in states.items():
        if any(cells):
            yield f"| {' | '.join([', '.join(names), *cells])} |"


def _cell(result: str) -> str:
    return {"no": "", ".": "."}.get(result, f"`{result}`")


def main(arguments: Namespace) -> int:
    """Write the page; with CHECK, raise UserError where it is out of date."""
    text = PAGE.read_text("utf-8")
    if arguments.check and written(text) != text:
        raise cli.UserError("docs/life.md is not what the rules say; run `make life` and read the difference")
    PAGE.write_text(written(text), "utf-8")
    return 0


if __name__ == "__main__":
    cli.run("life", main)
