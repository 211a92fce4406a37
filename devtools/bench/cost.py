"""What an order costs, placed to confirmed and placed to delivered: everything counted on the emulator, at list prices.

Differences between emulator and AWS are counted as AWS bills them: the emulator ignores LoggingConfig for Lambda's START, END and
REPORT lines, and samples every trace, so that all log lines of a function have a trace id.
"""

import base64
import math
import re
import statistics
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from devtools import ui
from devtools.bench import full_life, parts
from devtools.bench.parts import CONFIRMED, PUBLISHER, Routes
from devtools.bench.proxy import Call, Recorder
from devtools.bench.units import Index, Meter, Schema
from devtools.local.api_client import ApiClient
from devtools.ops import function_logs
from devtools.ops.function_logs import PLATFORM
from devtools.target import Target

ORDERS = 50
WARM_UP = 8
ALONE = 12
AT_ONCE = 2
STRANGERS = 20

SANDBOX_TABLES = {"SandboxPayments": parts.PAYMENT_SANDBOX, "SandboxShipments": parts.CARRIER_SANDBOX}
CARRIER_MESSAGES = 2  # dispatched and delivered
EVENT_CHUNK = 64 * 1024
RECORD_CHUNK = 25 * 1024
ARCHIVED_CHUNK = 5 * 1024
LOG_OVERHEAD = 26  # bytes that CloudWatch adds to every line
ACCESS_LINE = 330  # bytes of API Gateway's own line for a request, which the emulator does not write
EXPRESS_GB = 0.0625
EXPRESS_STEP = 0.1  # seconds
SAMPLED = 0.05  # share of requests without a trace that is traced, by the default rules of X-Ray and Lambda
# Requests to SQS for a message in a batch of one: send, receive, delete.
SENT = 1
POLLS = 2

_REPORT = re.compile(r"REPORT RequestId: \S+\s+Duration: ([\d.]+) ms.*?Memory Size: (\d+) MB", re.DOTALL)
_TRACE = re.compile(rb',"xray_trace_id":"[^"]*"')


@dataclass
class Counted:
    """The usage of `orders` delivered orders: calls by service and operation, and quantities by billed item, both by part.

    Invocations, and the messages that were sent to queues, are by function.
    """

    orders: int
    calls: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    usage: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    batches: Mapping[str, int] = field(default_factory=dict[str, int])
    invocations: Counter[str] = field(default_factory=Counter[str])
    messages: Counter[str] = field(default_factory=Counter[str])

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

    def total_usage_in_full_batches(self) -> dict[str, float]:
        """Return `total_usage` with full batches; `batches` has their sizes by function."""
        sums = self.total_usage()
        for function, size in self.batches.items():
            if parts.of_function(function) not in parts.APART:
                saved = self.messages[function] * (1 - 1 / size)
                sums["SQS requests"] -= POLLS * saved
                sums["invocations"] -= max(0.0, self.invocations[function] - self.messages[function] / size)
        return sums


@dataclass(frozen=True)
class Times:
    """Usual durations in seconds: functions by logical id, and the saga."""

    functions: Mapping[str, float]
    saga: float


def count(target: Target, recorder: Recorder, times: Times, orders: int = ORDERS) -> Counted:
    """Run orders of different customers until they are delivered and all queues are empty; count their usage."""
    functions = _functions(target)
    _name_callers(target, functions)
    routes, schemas = parts.routes(target, functions), _schemas(target)
    shop = ApiClient(target)
    with ui.stage("counting") as step:
        full_life.deliver_orders(shop, WARM_UP, AT_ONCE, step)
        recorder.take()
        since = int(time.time() * 1000)
        began = time.time()
        answered = full_life.deliver_orders(shop, orders, AT_ONCE, step)
        calls = [call for call in recorder.take() if call.caller in functions]
    counted = Counted(orders, batches=routes.batches)
    tables = {target.resources[table]: part for table, part in SANDBOX_TABLES.items()}
    count_calls(calls, Meter(schemas), routes, tables, counted)
    published = parts.published(calls)
    _count_functions(target, since, times, published, counted)
    _count_traces(target, routes.fed, published, counted)
    count_sagas(len(_runs(target, began)), times.saga, counted)
    messages = CARRIER_MESSAGES * orders
    count_requests(CONFIRMED, orders, answered[0], counted, by_url=False)
    count_requests("shipping", messages, answered[1], counted, by_url=True)
    return counted


def count_requests(part: str, requests: int, sent: int, counted: Counted, *, by_url: bool) -> None:
    """Add the costs of requests without their functions; `sent` is the bytes of all answers.

    A function URL costs nothing, and writes no line of its own. Whichever takes a request decides whether it is traced.
    """
    counted.add(part, "bytes out", sent)
    counted.add(part, "X-Ray traces", requests * SAMPLED)
    if not by_url:
        counted.add(part, "API requests", requests)
        counted.add(part, "log bytes", requests * ACCESS_LINE)


def _name_callers(target: Target, functions: Mapping[str, str]) -> None:
    """Make every function name itself in its calls."""
    client = target.client("lambda")
    for function, name in functions.items():
        known = client.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
        client.update_function_configuration(FunctionName=name, Environment={"Variables": known | {"AWS_SDK_UA_APP_ID": function}})


def _schemas(target: Target) -> dict[str, Schema]:
    client = target.client("dynamodb")
    names = [name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]]
    return {name: _schema(client.describe_table(TableName=name)["Table"]) for name in names}


def _schema(table: Mapping[str, Any]) -> Schema:
    indexes = [Index(_keys(one), one["Projection"]["ProjectionType"] == "ALL") for one in table.get("GlobalSecondaryIndexes", [])]
    return Schema(_keys(table), tuple(indexes))


def _keys(described: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(key["AttributeName"] for key in described["KeySchema"])


def count_calls(calls: Iterable[Call], meter: Meter, routes: Routes, sandboxes: Mapping[str, str], counted: Counted) -> None:
    """Add the usage of calls and of the messages they cause, each to its part."""
    for call in calls:
        part = parts.of_call(call, sandboxes)
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
        for consumer in routes.consumers(call):
            counted.add(parts.of_function(consumer), "SQS requests", SENT + POLLS)
            counted.messages[consumer] += 1


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


def _count_functions(target: Target, since: int, times: Times, published: Mapping[str, float], counted: Counted) -> None:
    """Read invocations, memory and logged bytes from the functions' logs; each invocation is billed for its usual duration."""
    client, written = target.client("lambda"), _lines(target, since)
    for function, name in _functions(target).items():
        lines = written.get(name, [])
        memory = [int(report[2]) for line in lines if (report := _REPORT.search(line))]
        if memory:
            counted.invocations[function] = len(memory)
        for what, quantity in (
            ("invocations", len(memory)),
            ("Lambda GB-seconds", sum(mb / 1024 * times.functions.get(function, 0.0) for mb in memory)),
            ("log bytes", logged(lines, client.get_function_configuration(FunctionName=name).get("LoggingConfig", {}))),
        ):
            share_among(function, published, what, quantity, counted)


def _count_traces(target: Target, fed: Collection[str], published: Mapping[str, float], counted: Counted) -> None:
    """Count the traces that invocations by queues and streams start, whose messages carry no trace."""
    client = target.client("lambda")
    for function, name in _functions(target).items():
        tracing = client.get_function_configuration(FunctionName=name).get("TracingConfig", {})
        if function in fed and tracing.get("Mode") == "Active":
            share_among(function, published, "X-Ray traces", counted.invocations[function] * SAMPLED, counted)


def share_among(function: str, published: Mapping[str, float], what: str, quantity: float, counted: Counted) -> None:
    """Add a quantity that a function used to its part; the publisher's to the parts of what it `published`."""
    for part, share in (published if function == PUBLISHER else {parts.of_function(function): 1.0}).items():
        counted.add(part, what, quantity * share)


def logged(lines: Iterable[str], logging: Mapping[str, Any]) -> float:
    """Return the billed bytes of a function's log lines under its LoggingConfig."""
    failures_only = logging.get("LogFormat") == "JSON" and logging.get("SystemLogLevel") == "WARN"
    kept = [line.encode() for line in lines if not (failures_only and line.startswith(PLATFORM))]
    traces = sum(len(found[0]) for line in kept if (found := _TRACE.search(line)))
    return sum(len(line) + LOG_OVERHEAD for line in kept) - traces * (1 - SAMPLED)


def _functions(target: Target) -> dict[str, str]:
    """Return the names of the functions that an order can reach, by logical id."""
    clock = parts.scheduled()
    names = target.physical_ids("AWS::Lambda::Function")
    return {function: names[function] for function in sorted(names) if function not in clock}


def _lines(target: Target, since: int) -> dict[str, list[str]]:
    """Return the lines of every function since a time (epoch ms), by the function's name."""
    found: dict[str, list[str]] = {}
    for group in set(function_logs.log_groups(target).values()):
        for event in function_logs.events(target, group, since):
            found.setdefault(function_logs.function_of(event, group), []).append(event["message"])
    return found


def usual_times(target: Target) -> Times:
    """Return the usual durations of functions and workflow: medians of all invocations on a target, and of single orders.

    Other programs on this machine make single runs longer; on Lambda nothing else has a part of a function's processor.
    """
    shop = ApiClient(target)
    with ui.stage("single orders") as step:
        full_life.deliver_orders(shop, ALONE, 1, step)
    for _ in range(STRANGERS):
        # The authorizer's answers are cached by customer: it runs for new ones only.
        shop.order(f"stranger-{uuid4().hex[:12]}", "ord_none")
    functions, written = dict[str, float](), _lines(target, 0)
    for function, name in _functions(target).items():
        durations = [float(report[1]) for line in written.get(name, []) if (report := _REPORT.search(line))]
        if durations:
            functions[function] = math.ceil(statistics.median(durations)) / 1000
    runs = _runs(target)
    return Times(functions, statistics.median((run["stopDate"] - run["startDate"]).total_seconds() for run in runs))


def _runs(target: Target, began: float = 0.0) -> list[dict[str, Any]]:
    pages = target.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=target.resources["Fulfilment"])
    return [run for page in pages for run in page["executions"] if "stopDate" in run and run["startDate"].timestamp() >= began]


def count_sagas(runs: int, seconds: float, counted: Counted) -> None:
    """Add runs of the saga that take so many seconds each."""
    counted.add(CONFIRMED, "Express requests", runs)
    # The event that starts a saga carries no trace.
    counted.add(CONFIRMED, "X-Ray traces", runs * SAMPLED)
    counted.add(CONFIRMED, "Express GB-seconds", runs * max(1, math.ceil(seconds / EXPRESS_STEP)) * EXPRESS_STEP * EXPRESS_GB)
