"""Show the events of an order as a tree of causes, with times, and the functions' log lines about it."""

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
from devtools.ops import function_logs, order_story, timeline
from devtools.ops.function_logs import LogLine
from devtools.target import Target
from orderflow.aws import dynamodb

# Clocks differ a little, and a request starts before its event is appended.
BEFORE_MS = 10_000
READER = "orders-get"
SHARED_FIELDS = frozenset({"order_id", "correlation_id", "event_ids"})
# The length of a log line's time of day.
CLOCK = 14
# Fields of event data that show the outcome; names, addresses and order lines are not printed.
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
    """Return an order's events with their envelopes, oldest first. Raises UserError for an unknown order."""
    pages = (
        target.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=target.resources["OrderLog"],
            KeyConditionExpression="order_id = :id",
            ExpressionAttributeValues=dynamodb.values(id=order_id),
            ConsistentRead=True,
        )
    )
    events = [json.loads(item["event"]["S"]) for page in pages for item in page["Items"]]
    if not events:
        raise UserError(f"order {order_id!r} not found in stack {target.stack} at {target.endpoint or 'AWS'}")
    return events


def tree(events: Sequence[dict[str, Any]]) -> Tree:
    """Return the events below their causes; events with a cause outside the order are at the top."""
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
    outcome = [f"{name}={_short(event['data'][name])}" for name in OUTCOME_FIELDS if event["data"].get(name) not in (None, [], "")]
    return text.append(f"  {' '.join(outcome)}" if outcome else "")


def _short(value: Any) -> str:
    return ui.one_line(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def log_lines(lines: Sequence[LogLine], began: int) -> list[Text]:
    """Render log lines with the milliseconds since the order was placed."""
    width = max((len(line.function) for line in lines), default=0)
    texts = [function_logs.rendered(line, width=width, hidden=SHARED_FIELDS, brief=True)[CLOCK:] for line in lines]
    return [Text.assemble((f"{line.time - began:>6} ms  ", "bold"), text) for line, text in zip(lines, texts, strict=True)]


def order_lines(lines: Iterable[LogLine], order_id: str, correlation_id: str) -> list[LogLine]:
    """Return the lines about an order, without those of requests that read it."""
    names_order = function_logs.belongs_to(order_id, correlation_id)
    return [line for line in lines if names_order(line) and (line.function != READER or line.fields.get("level") != "INFO")]


def view(events: Sequence[dict[str, Any]], lines: Sequence[LogLine]) -> RenderableType:
    """Return the tree, with the log lines below it."""
    began = round(datetime.fromisoformat(events[0]["occurred_at"]).timestamp() * 1000)
    logged = log_lines(lines, began) or [Text("no log lines", "dim")]
    return Group(tree(events), Text("\nLog lines of the functions", "bold"), *logged)


def main(arguments: Namespace) -> None:
    """Print the tree and the log lines; of a stack on AWS, those of the saved query, and links to the traces in X-Ray."""
    order_id, target = arguments.order, targets.chosen(arguments.stack)
    events = history(target, order_id)
    began = round(datetime.fromisoformat(events[0]["occurred_at"]).timestamp() * 1000)
    if target.local:
        found = function_logs.read(target, function_logs.functions(target), began - BEFORE_MS)
    else:
        found = order_story.read(target, order_id, began - BEFORE_MS)
    lines = order_lines(found, order_id, events[0]["correlation_id"])
    ui.console.print(view(events, lines))
    if not target.local:
        for link in order_story.trace_links(target, lines):
            ui.console.print(Text(f"  X-Ray  {link}", "cyan"), soft_wrap=True)
