"""Sends what lies in a dead-letter or operations queue back to work: QUEUE=name, MAX=how many (100).

Without QUEUE it lists the queues and how many messages lie in each.
"""

import json
from typing import Any

from rich.text import Text

from devtools import cli, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.target import STACK, Target
from operations import redrive_routes

ENDINGS = ("dead-letters", "operations")


def urls(target: Target, prefix: str) -> dict[str, str]:
    """The URLs of the queues whose full names begin so, by name."""
    pages = target.client("sqs").get_paginator("list_queues").paginate(QueueNamePrefix=prefix)
    return {_name(url): url for page in pages for url in page.get("QueueUrls", [])}


def depths(target: Target) -> dict[str, int]:
    """How many messages lie in each queue that waits for an operator, by the queue's full name."""
    sqs = target.client("sqs")
    return {name: _depth(sqs, url) for name, url in urls(target, STACK).items() if name.endswith(ENDINGS)}


def names() -> dict[str, str]:
    """What the redrive function calls the queues that it can empty, by their full names."""
    known = redrive_routes.routes(f"{STACK}-{redrive_routes.OPERATIONS}", topic="", saga="", review="")
    return {route.queue_url: name for name, route in known.items()}


def _name(url: str) -> str:
    # A target may give the same queue's URL with different hosts.
    return url.rsplit("/", 1)[-1]


def _depth(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def main() -> int:
    """List the queues, or redrive one; 1 when something could not be moved."""
    target = targets.from_environment()
    function = target.resources.get("OperationsRedrive")
    wanted, most = cli.option("QUEUE"), cli.whole_number("MAX", 100)
    if not function:
        raise UserError("the deployed stack has no redrive function; run `make run` to deploy the present one")
    if not wanted:
        _list(depths(target), names())
        return 0
    return _report(_invoke(target, function, {"queue": wanted, "max": most}))


def _list(found: dict[str, int], known: dict[str, str]) -> None:
    rows = [(known.get(queue, ""), queue, depth) for queue, depth in found.items()]
    ui.console.print(Text(f"  {'QUEUE=':<28}{'queue':<52}messages", "dim"))
    for name, queue, depth in sorted(rows, key=lambda row: (not row[0], row)):
        shown = (f"{name or '(to be looked at by hand)':<28}", "bold" if name else "dim")
        ui.console.print(Text.assemble("  ", shown, f"{queue:<52}", (f"{depth:>8}", "yellow" if depth else "dim")))


def _invoke(target: Target, function: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = target.client("lambda").invoke(FunctionName=function, Payload=json.dumps(request).encode())
    payload: dict[str, Any] = json.loads(answer["Payload"].read() or b"{}")
    if answer.get("FunctionError") or "errorMessage" in payload:
        raise UserError(" ".join(str(payload.get("errorMessage", payload)).split()))
    return payload


def _report(answer: dict[str, Any]) -> int:
    failed = answer.get("failed", 0)
    moved = f"  {answer.get('queue', '')}: {answer.get('moved', 0)} moved, {failed} failed"
    ui.console.print(Text(moved, "red" if failed else "green"))
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
