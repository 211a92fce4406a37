"""What a confirmed order costs: every call, invocation, event and byte counted on the emulator, at list prices."""

import math
import re
import statistics
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import batched
from typing import Any
from uuid import uuid4

from devtools import ui
from devtools.bench.proxy import Call, Recorder
from devtools.bench.units import Meter
from devtools.cli import UserError
from devtools.shop import Shop, mails, order_body, state_of, wait_until
from devtools.target import ROOT, Target

ORDERS = 50
WARM_UP = 8
AT_ONCE = 2
STRANGERS = 20
END_SECONDS = 60.0
PRICES = ROOT / "devtools" / "prices.toml"

MAIL_FUNCTION = "NotificationsMail"
MAIL_TABLE = "MailIdempotencyTable"
# Stands in for a payment provider, whose bill is its own.
SANDBOX_TABLE = "SandboxPaymentsTable"
EVENT_CHUNK = 64 * 1024
LOG_OVERHEAD = 26  # bytes that CloudWatch adds to every line
_BY_THE_CLOCK = {"OperationsSweep", "OperationsReconcile"}
ACCESS_LINE = 330  # bytes of API Gateway's own line for a request, which the emulator does not write
EXPRESS_GB = 0.0625
EXPRESS_STEP = 0.1  # seconds
SAMPLED = 0.05  # of all requests are traced by X-Ray's default rule
POLLS = 2  # requests of Lambda to SQS for a message: one receives it, one deletes it

_REPORT = re.compile(r"REPORT RequestId: \S+\s+Duration: ([\d.]+) ms.*?Memory Size: (\d+) MB", re.DOTALL)


@dataclass
class Counted:
    """What `orders` confirmed orders used; `calls` by service and operation, the mail's apart."""

    orders: int
    calls: Counter[str] = field(default_factory=Counter[str])
    mail_calls: Counter[str] = field(default_factory=Counter[str])
    usage: dict[str, float] = field(default_factory=dict[str, float])
    mail_usage: dict[str, float] = field(default_factory=dict[str, float])
    sandbox_usage: dict[str, float] = field(default_factory=dict[str, float])
    invocations: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True)
class Times:
    """How long things usually take, in seconds: each function by its logical id, and the saga."""

    functions: Mapping[str, float]
    saga: float


@dataclass(frozen=True)
class Item:
    """A line of the bill: what is paid for, how much of it an order uses, and dollars for a million orders."""

    what: str
    quantity: float
    dollars: float


def count(target: Target, recorder: Recorder, times: Times, orders: int = ORDERS) -> Counted:
    """Place orders that are confirmed, each by a customer of its own, and count what they use until their mails are sent."""
    shop = Shop(target)
    with ui.stage("counting") as step:
        _confirm(shop, WARM_UP, step)
        recorder.take()
        since = int(time.time() * 1000)
        began = time.time()
        answered = _confirm(shop, orders, step)
        calls = [call for call in recorder.take() if "IndexName" not in call.parameters]
    counted = Counted(orders)
    _count_calls(target, calls, counted)
    _count_functions(target, since, times, counted)
    _count_sagas(target, began, times, counted)
    counted.usage |= {
        "API requests": orders,
        "API bytes out": answered,
        "X-Ray traces": orders * SAMPLED,
        "log bytes": counted.usage.get("log bytes", 0.0) + orders * ACCESS_LINE,
    }
    return counted


def _confirm(shop: Shop, orders: int, step: ui.Stage) -> int:
    """Have orders confirmed and their mails sent; return the bytes of the API's answers."""
    answered = 0
    sent = len(mails(shop.target))
    for done, group in enumerate(batched((f"bench-{uuid4().hex[:12]}" for _ in range(orders)), AT_ONCE, strict=False)):
        step.detail = f"{done * AT_ONCE} of {orders}"
        answers = {customer: shop.place(customer, order_body(("MUG-BLUE", 2), ("FILTER-100", 1))) for customer in group}
        answered += sum(len(answer.body) for answer in answers.values())
        for customer, answer in answers.items():
            order_id = answer.json().get("order_id", "")
            if not wait_until(lambda c=customer, o=order_id: _ended(shop.target, c, o), END_SECONDS, 0.05):
                raise UserError(f"order {order_id} was not confirmed within {END_SECONDS:.0f} s")
    if not wait_until(lambda: len(mails(shop.target)) >= sent + orders, END_SECONDS):
        raise UserError(f"not every mail was sent within {END_SECONDS:.0f} s")
    time.sleep(1.0)  # records of the mails are completed, log lines arrive
    return answered


def _ended(target: Target, _customer: str, order_id: str) -> bool:
    """Read the log itself: asking the API would be counted."""
    found = target.client("dynamodb").query(
        TableName=target.resources["OrderLogTable"],
        KeyConditionExpression="order_id = :order_id",
        ExpressionAttributeValues={":order_id": {"S": order_id}},
        ProjectionExpression="#type",
        ExpressionAttributeNames={"#type": "type"},
    )
    return state_of([{"type": item["type"]["S"], "data": {}} for item in found["Items"]]) == "confirmed"


def _count_calls(target: Target, calls: Iterable[Call], counted: Counted) -> None:
    meter = Meter()
    usage, mail, sandbox = Counter[str](), Counter[str](), Counter[str]()
    for call in calls:
        is_mail = call.service in {"ses", "email"} or call.parameters.get("TableName") == target.resources[MAIL_TABLE]
        (counted.mail_calls if is_mail else counted.calls)[f"{call.service} {call.operation}"] += 1
        writes, reads = meter.units(call) if call.service == "dynamodb" else (0.0, 0.0)
        is_sandbox = call.parameters.get("TableName") == target.resources[SANDBOX_TABLE]
        used = mail if is_mail else sandbox if is_sandbox else usage
        used["DynamoDB write units"] += writes  # pyright: ignore[reportArgumentType]
        used["DynamoDB read units"] += reads  # pyright: ignore[reportArgumentType]
        if call.operation == "PutEvents":
            usage["events"] += sum(_chunks(entry) for entry in call.parameters["Entries"])
        if call.operation == "SendEmail":
            # One event, one topic message, one queue message.
            mail.update({"mails": 1, "SNS requests": 1, "SQS requests": POLLS})
    counted.usage |= usage
    counted.mail_usage |= mail
    counted.sandbox_usage |= sandbox


def _chunks(entry: Mapping[str, Any]) -> int:
    return math.ceil(len(entry["Detail"].encode()) / EVENT_CHUNK)


def _count_functions(target: Target, since: int, times: Times, counted: Counted) -> None:
    """Read invocations, memory and the bytes logged from the functions' logs; each is billed for its usual time."""
    for function, name in _functions(target):
        lines = _lines(target, name, since)
        usage = counted.mail_usage if function == MAIL_FUNCTION else counted.usage
        memory = [int(report[2]) for line in lines if (report := _REPORT.search(line))]
        counted.invocations[function] += len(memory)
        for what, quantity in (
            ("invocations", len(memory)),
            ("Lambda GB-seconds", sum(mb / 1024 * times.functions.get(function, 0.0) for mb in memory)),
            ("log bytes", sum(len(line.encode()) + LOG_OVERHEAD for line in lines)),
        ):
            usage[what] = usage.get(what, 0.0) + quantity


def _functions(target: Target) -> list[tuple[str, str]]:
    """Return logical id and name of the functions that an order can reach; others run by the clock."""
    functions = [(output.removesuffix("Function"), name) for output, name in target.resources.items() if output.endswith("Function")]
    return sorted(function for function in functions if function[0] not in _BY_THE_CLOCK)


def _lines(target: Target, name: str, since: int) -> list[str]:
    pages = target.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}", startTime=since)
    return [event["message"] for page in pages for event in page["events"]]


def usual_times(target: Target) -> Times:
    """Return how long functions and workflow usually take: medians of what ran on a target so far.

    Other programs on this machine make single runs longer; on Lambda nothing else has a part of a function's processor.
    """
    shop = Shop(target)
    for _ in range(STRANGERS):
        # The authorizer's answers are remembered by customer: only for new ones does it run.
        shop.order(f"stranger-{uuid4().hex[:12]}", "ord_none")
    functions: dict[str, float] = {}
    for function, name in _functions(target):
        durations = [float(report[1]) for line in _lines(target, name, 0) if (report := _REPORT.search(line))]
        if durations:
            functions[function] = math.ceil(statistics.median(durations)) / 1000
    runs = _runs(target)
    return Times(functions, statistics.median((run["stopDate"] - run["startDate"]).total_seconds() for run in runs))


def _runs(target: Target, began: float = 0.0) -> list[dict[str, Any]]:
    pages = target.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=target.resources["SagaArn"])
    return [run for page in pages for run in page["executions"] if "stopDate" in run and run["startDate"].timestamp() >= began]


def _count_sagas(target: Target, began: float, times: Times, counted: Counted) -> None:
    runs = len(_runs(target, began))
    counted.usage["Express requests"] = runs
    counted.usage["Express GB-seconds"] = runs * max(1, math.ceil(times.saga / EXPRESS_STEP)) * EXPRESS_STEP * EXPRESS_GB


def bill(usage: Mapping[str, float], orders: int) -> list[Item]:
    """Return the bill for a million orders that each use what these `orders` used on average."""
    prices = tomllib.loads(PRICES.read_text("utf-8"))
    million, gb = 1e6, 1024.0**3
    rates = {
        "API requests": prices["api"]["rest_requests_million"] / million,
        "API bytes out": prices["api"]["transfer_out_gb"] / gb,
        "invocations": prices["lambda"]["requests_million"] / million,
        "Lambda GB-seconds": prices["lambda"]["gb_second"],
        "DynamoDB write units": prices["dynamodb"]["write_units_million"] / million,
        "DynamoDB read units": prices["dynamodb"]["read_units_million"] / million,
        "events": prices["events"]["custom_events_million"] / million,
        "Express requests": prices["states"]["express_requests_million"] / million,
        "Express GB-seconds": prices["states"]["express_gb_second"],
        "log bytes": prices["logs"]["ingested_gb"] / gb,
        "X-Ray traces": prices["xray"]["traces_million"] / million,
        "SNS requests": prices["sns"]["requests_million"] / million,
        "SQS requests": prices["sqs"]["requests_million"] / million,
        "mails": prices["ses"]["mails_million"] / million,
    }
    items = [Item(what, usage[what] / orders, usage[what] / orders * rate * million) for what, rate in rates.items() if usage.get(what)]
    return sorted(items, key=lambda item: -item.dollars)
