"""The usage of orders by billed item, from the calls and log lines of their functions."""

import base64
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devtools.billing import parts
from devtools.billing.calls import Call
from devtools.billing.parts import CONFIRMED, PUBLISHER
from devtools.billing.units import Meter

SANDBOX_TABLES = {"SandboxPayments": parts.PAYMENT_SANDBOX, "SandboxShipments": parts.CARRIER_SANDBOX}
CARRIER_MESSAGES = 2  # dispatched and delivered
EVENT_CHUNK = 64 * 1024
RECORD_CHUNK = 25 * 1024
ARCHIVED_CHUNK = 5 * 1024
LOG_OVERHEAD = 26  # bytes that CloudWatch adds to every line
ACCESS_LINE = 330  # bytes of API Gateway's own line for a request
EXPRESS_GB = 0.0625
EXPRESS_STEP = 0.1  # seconds
SAMPLED = 0.01  # share of traced requests in a protected stage, by the template's sampling rule
URL_SAMPLED = 0.05  # share of traced requests to a function URL, by Lambda's own rule
# Requests to SQS for a message in a batch of one: send, receive, delete.
SENT = 1
POLLS = 2

_TRACE = re.compile(rb',"xray_trace_id":"[^"]*"')


@dataclass
class Counted:
    """The usage of one delivered order: calls by service and operation, and quantities by billed item, both by part.

    Invocations are by function.
    """

    calls: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    usage: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    invocations: Counter[str] = field(default_factory=Counter[str])

    def add(self, part: str, what: str, quantity: float) -> None:
        """Add to the usage of a part."""
        used = self.usage.setdefault(part, {})
        used[what] = used.get(what, 0.0) + quantity

    def total_usage(self) -> dict[str, float]:
        """Return the usage of all parts of an order."""
        sums: dict[str, float] = {}
        for part, used in self.usage.items():
            for what, quantity in used.items() if part not in parts.APART else ():
                sums[what] = sums.get(what, 0.0) + quantity
        return sums


def count_requests(part: str, requests: int, sent: int, counted: Counted, *, by_url: bool) -> None:
    """Add the costs of requests without their functions; `sent` is the bytes of all answers.

    A function URL costs nothing, and writes no line of its own. The saga and all consumers continue the trace of the request.
    """
    counted.add(part, "bytes out", sent)
    counted.add(part, "X-Ray traces", requests * (URL_SAMPLED if by_url else SAMPLED))
    if not by_url:
        counted.add(part, "API requests", requests)
        counted.add(part, "log bytes", requests * ACCESS_LINE)


def count_calls(calls: Iterable[Call], meter: Meter, counted: Counted) -> None:
    """Add the usage of calls, each to its part."""
    for call in calls:
        part = parts.of_call(call, SANDBOX_TABLES)
        counted.calls.setdefault(part, Counter())[f"{call.service} {call.operation}"] += 1
        match call.service:
            case "dynamodb":
                writes, reads = meter.units(call)
                counted.add(part, "DynamoDB write units", writes)
                counted.add(part, "DynamoDB read units", reads)
            case "s3":
                counted.add(part, "S3 PUT requests" if call.operation == "PUT" else "S3 GET requests", 1)
            case "secretsmanager":
                counted.add(part, "Secrets Manager calls", 1)
            case "appconfig":
                counted.add(part, "AppConfig requests", 1)
            case "ses" | "email":
                # One topic message and one queue message precede it.
                for what, quantity in (("emails", 1), ("SNS requests", 1), ("SQS requests", SENT + POLLS)):
                    counted.add(part, what, quantity)
            case "events" | "kinesis":
                _count_published(call, counted)
            case _:
                pass


def _count_published(call: Call, counted: Counted) -> None:
    if call.service == "events":
        what, sizes = "events", [math.ceil(len(entry["Detail"].encode()) / EVENT_CHUNK) for entry in call.parameters["Entries"]]
    else:
        what, sizes = "stream units", [math.ceil(_size(record) / RECORD_CHUNK) for record in call.parameters["Records"]]
        # The archive's delivery stream reads every record of the stream.
        for record in call.parameters["Records"]:
            size = len(base64.b64decode(record["Data"]))
            counted.add(parts.ARCHIVE, "bytes archived", math.ceil(size / ARCHIVED_CHUNK) * ARCHIVED_CHUNK)
            counted.add(parts.ARCHIVE, "bytes partitioned", size)
    for event, size in zip(parts.events(call), sizes, strict=True):
        counted.add(parts.of_event(event), what, size)


def _size(record: Mapping[str, Any]) -> int:
    return len(base64.b64decode(record["Data"])) + len(record["PartitionKey"].encode())


def share_among(function: str, published: Mapping[str, float], what: str, quantity: float, counted: Counted) -> None:
    """Add a function's quantity to its part; share the publisher's among the parts of the events `published`."""
    for part, share in (published if function == PUBLISHER else {parts.of_function(function): 1.0}).items():
        counted.add(part, what, quantity * share)


def logged(lines: Iterable[str]) -> float:
    """Return the billed bytes of a function's log lines, which have a trace id where the trace is sampled."""
    encoded = [line.encode() for line in lines]
    traces = sum(len(found[0]) for line in encoded if (found := _TRACE.search(line)))
    return sum(len(line) + LOG_OVERHEAD for line in encoded) - traces * (1 - SAMPLED)


def count_sagas(runs: int, seconds: float, counted: Counted) -> None:
    """Add runs of the saga that take so many seconds each."""
    counted.add(CONFIRMED, "Express requests", runs)
    counted.add(CONFIRMED, "Express GB-seconds", runs * max(1, math.ceil(seconds / EXPRESS_STEP)) * EXPRESS_STEP * EXPRESS_GB)
