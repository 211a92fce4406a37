"""An order as a tree: which event caused which, with times, and what the functions logged meanwhile. ORDER=id."""

import json
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.ops import function_logs, timeline
from devtools.ops.function_logs import LogLine
from devtools.target import Target

# Clocks of the log and of the functions may differ a little, and a request begins before its event.
BEFORE_MS = 10_000
READER = "orders-get"
SHARED_FIELDS = frozenset({"order_id", "correlation_id", "event_ids"})
# Where the function's name begins in a log line: after its time of day.
CLOCK = 14
# What says how an event came out; names, addresses and lines are left to the API.
OUTCOME_FIELDS = (
    "reason",
    "decision",
    "score",
    "reasons",
    "code",
    "authorization_id",
    "step",
    "shortages",
    "details",
    "reviewer",
)


def history(target: Target, order_id: str) -> list[dict[str, Any]]:
    """The whole envelopes of an order, oldest first. Raises UserError when there is no such order."""
    pages = (
        target.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=target.resources["OrderLog"],
            KeyConditionExpression="order_id = :id",
            ExpressionAttributeValues={":id": {"S": order_id}},
            ConsistentRead=True,
        )
    )
    events = [json.loads(item["event"]["S"]) for page in pages for item in page["Items"]]
    if not events:
        raise UserError(f"there is no order {order_id!r} at {target.endpoint}")
    return events


def tree(events: Sequence[dict[str, Any]]) -> Tree:
    """The events below what caused them; what was caused from outside the order stands at the top."""
    passed = dict(zip((event["event_id"] for event in events), timeline.milliseconds(events), strict=True))
    children: dict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        cause = event.get("causation_id")
        children[cause if cause in passed and cause != event["event_id"] else None].append(event)
    first = events[0]
    root = Tree(Text.assemble((str(first["order_id"]), "bold"), (f"  correlation {first['correlation_id']}", "dim")))
    _add_children(root, None, children, passed)
    return root


def _add_children(branch: Tree, cause: str | None, children: dict[str | None, list[dict[str, Any]]], passed: dict[str, int]) -> None:
    for event in children[cause]:
        before = passed.get(cause or "", 0)
        _add_children(branch.add(_label(event, passed[event["event_id"]], before)), event["event_id"], children, passed)


def _label(event: dict[str, Any], passed: int, before: int) -> Text:
    _, style = timeline.LABELS.get(event["type"], ("", "white"))
    text = Text.assemble((f"{passed:>6} ms ", "bold"), (f"{passed - before:>+6}  ", "dim"), (event["type"], style))
    text.append(f"  v{event['order_version']} by {event['source']}", "dim")
    told = [f"{name}={_short(event['data'][name])}" for name in OUTCOME_FIELDS if event["data"].get(name) not in (None, [], "")]
    return text.append(f"  {' '.join(told)}" if told else "")


def _short(value: Any) -> str:
    return ui.one_line(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def log_lines(lines: Sequence[LogLine], began: int) -> list[Text]:
    """Log lines with the ms since the order was placed."""
    width = max((len(line.function) for line in lines), default=0)
    shown = [function_logs.rendered(line, width=width, hidden=SHARED_FIELDS, brief=True)[CLOCK:] for line in lines]
    return [Text.assemble((f"{line.time - began:>6} ms  ", "bold"), text) for line, text in zip(lines, shown, strict=True)]


def order_lines(lines: Iterable[LogLine], order_id: str, correlation_id: str) -> list[LogLine]:
    """The lines that tell of an order's way; that somebody looked at it is no part of that."""
    belongs = function_logs.belongs_to(order_id, correlation_id)
    return [line for line in lines if belongs(line) and (line.function != READER or line.fields.get("level") != "INFO")]


def view(events: Sequence[dict[str, Any]], lines: Sequence[LogLine]) -> RenderableType:
    """The tree and the log lines below one another."""
    began = round(datetime.fromisoformat(events[0]["occurred_at"]).timestamp() * 1000)
    logged = log_lines(lines, began) or [Text("no log lines", "dim")]
    return Group(tree(events), Text("\nWhat the functions logged", "bold"), *logged)


def main(arguments: Namespace) -> None:
    """Print the tree."""
    order_id, target = arguments.order, targets.chosen(arguments.stack)
    events = history(target, order_id)
    began = round(datetime.fromisoformat(events[0]["occurred_at"]).timestamp() * 1000)
    found = function_logs.read(target, function_logs.functions(target), began - BEFORE_MS)
    lines = order_lines(found, order_id, events[0]["correlation_id"])
    ui.console.print(view(events, lines))
