"""Sends what lies in a dead-letter or operations queue back to work: QUEUE=name, MAX=how many (100). Without QUEUE: lists them."""

import json
from typing import Any

from rich.text import Text

from devtools import cli, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.target import STACK, Target

ENDINGS = ("dead-letters", "operations")


def queues(target: Target) -> dict[str, int]:
    """How many messages lie in each queue that waits for an operator, by its name without the stack's."""
    sqs = target.client("sqs")
    urls = [
        url
        for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=STACK)
        for url in page.get("QueueUrls", [])
    ]
    names = {url.rsplit("/", 1)[-1].removeprefix(f"{STACK}-"): url for url in urls}
    return {name: _depth(sqs, url) for name, url in sorted(names.items()) if name.endswith(ENDINGS)}


def _depth(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def main() -> int:
    """List the queues, or redrive one; 1 when something could not be moved."""
    target = targets.from_environment()
    function = target.resources.get("OperationsRedriveFunction")
    wanted, most = cli.argument("QUEUE"), cli.whole_number("MAX", 100)
    if not wanted:
        _list(queues(target))
        return 0
    if not function:
        raise UserError("the deployed stack has no redrive function; run `make run` to deploy the present one")
    return _report(_invoke(target, function, {"queue": wanted, "max": most}))


def _list(found: dict[str, int]) -> None:
    width = max(map(len, found), default=0)
    for name, depth in found.items():
        ui.console.print(Text.assemble(f"  {name:<{width}}  ", (f"{depth:>5}", "yellow" if depth else "dim")))
    ui.console.print(Text("\n  make redrive QUEUE=name", "bold"))


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
