"""Runs one consumer on the in-memory AWS; PYTHONPATH selects the code.

Standard input is JSON: the `module` of the function, all published `events`, and the `types` that it consumes. The last
line of standard output is JSON, by kind and then by name: the answers, the rows of every table, and all sent messages.
"""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from tests.conftest import TABLES, Aws
from tests.fakes.aws.ses import FakeSes
from tests.support.runtime import CONTEXT

type Found = dict[str, dict[str, Any]]


def consume(handlers: Sequence[Any], events: list[dict[str, Any]], types: Collection[str]) -> Found:
    """Invoke each handler in turn with each event of these types in an SQS batch of one.

    The order log has all events. The answers are those of the last handler.
    """
    aws, emails = Aws(), FakeSes()
    aws.lend(ses=emails)
    aws.dynamodb.seed("OrderLog", *map(_logged, events))
    answers: dict[str, Any] = {}
    for handler in handlers:
        answers = {event["event_id"]: _answer(handler, event) for event in events if event["type"] in types}
    tables = {table.name: {_name(row, table.key): row for row in aws.dynamodb.items(table.name)} for table in TABLES}
    return {
        "answers": answers,
        **tables,
        "queues": dict(aws.sqs.sent),
        "topics": dict(aws.sns.published),
        "workflows": {str(number): one for number, one in enumerate(aws.stepfunctions.started)},
        "bus": {str(number): one for number, one in enumerate(aws.events.details)},
        "objects": {f"{bucket}/{key}": body.decode(errors="replace") for (bucket, key), body in aws.s3.objects.items()},
        "emails": {str(number): mail for number, mail in enumerate(emails.sent)},
    }


def _logged(event: dict[str, Any]) -> dict[str, Any]:
    keys = {"order_id": {"S": event["order_id"]}, "version": {"N": str(event["order_version"])}}
    return keys | {"type": {"S": event["type"]}, "event": {"S": json.dumps(event)}}


def _answer(handler: Any, event: dict[str, Any]) -> Any:
    body = json.dumps({"detail-type": event["type"], "source": event["source"], "detail": event})
    record = {"messageId": event["event_id"], "body": body, "eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}
    try:
        return handler({"Records": [record]}, CONTEXT)
    except Exception as error:  # noqa: BLE001 - an error is a result
        return {"raised": f"{type(error).__name__}: {error}"}


def _name(row: dict[str, Any], key: Any) -> str:
    return "/".join(value for name in key for value in row[name].values())


def readable(value: Any) -> str:
    """Return bytes and other values without a JSON form as text; compressed rows are decompressed."""
    if isinstance(value, bytes):
        with suppress(zlib.error):
            value = zlib.decompress(value)
        return value.decode(errors="replace")
    return str(value)


def main() -> None:
    """Consume the events of standard input."""
    given = json.load(sys.stdin)
    handler = importlib.import_module(given["module"]).handler
    print(json.dumps(consume([handler], given["events"], given["types"]), default=readable))


if __name__ == "__main__":
    main()
