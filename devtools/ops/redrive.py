"""Redrive a dead-letter queue or the operations queue; without QUEUE, list the queues and their depths."""

from argparse import Namespace
from typing import Any

from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.target import Target
from operations import redrive_routes

# Longer than the function may run: it continues when its caller stops waiting.
INVOKE_SECONDS = 70
QUEUE_SUFFIXES = ("dead-letters", "operations")


def urls(target: Target) -> dict[str, str]:
    """Return the URLs of the stack's queues by full name. A prefix would find those of a stack `shop-eu` beside `shop` as well."""
    return {_name(url): url for url in target.physical_ids("AWS::SQS::Queue").values()}


def depths(target: Target) -> dict[str, int]:
    """Return the number of messages in each dead-letter and operations queue, by the queue's full name."""
    sqs = target.client("sqs")
    return {name: _depth(sqs, url) for name, url in urls(target).items() if name.endswith(QUEUE_SUFFIXES)}


def names(stack: str) -> dict[str, str]:
    """Return the names that the redrive function gives to the queues it can redrive, by the queues' full names."""
    known = redrive_routes.routes(f"{stack}-{redrive_routes.OPERATIONS}", topic="", saga="", workflows={redrive_routes.REVIEW: ""})
    return {route.queue_url: name for name, route in known.items()}


def _name(url: str) -> str:
    # A target may return the same queue's URL with different hosts.
    return url.rsplit("/", 1)[-1]


def _depth(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def main(arguments: Namespace) -> int:
    """List the queues, or redrive one; 1 when a message could not be moved."""
    target = targets.chosen(arguments.stack)
    target.outputs()
    if not arguments.queue:
        _list(depths(target), names(target.stack))
        return 0
    return _report(target.invoke("OperationsRedrive", {"queue": arguments.queue, "max": arguments.max}, seconds=INVOKE_SECONDS))


def _list(found: dict[str, int], known: dict[str, str]) -> None:
    rows = [(known.get(queue, ""), queue, depth) for queue, depth in found.items()]
    ui.console.print(Text(f"  {'QUEUE=':<28}{'queue':<52}messages", "dim"))
    for name, queue, depth in sorted(rows, key=lambda row: (not row[0], row)):
        name_cell = (f"{name or '(manual)':<28}", "bold" if name else "dim")
        ui.console.print(Text.assemble("  ", name_cell, f"{queue:<52}", (f"{depth:>8}", "yellow" if depth else "dim")))


def _report(answer: dict[str, Any]) -> int:
    failed = answer.get("failed", 0)
    moved = f"  {answer.get('queue', '')}: {answer.get('moved', 0)} moved, {failed} failed"
    ui.console.print(Text(moved, "red" if failed else "green"))
    return 1 if failed else 0
