"""Counts the usage of one order, placed to delivered, from the functions' calls on AWS in memory.

Durations are assumed: `SECONDS` for each invocation, `SAGA_SECONDS` for each saga. A single order is counted, so nothing is
batched.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any, cast

import pytest

from devtools import template
from devtools.billing import parts, usage
from devtools.billing.calls import Call
from devtools.billing.parts import CONFIRMED
from devtools.billing.units import Meter
from devtools.billing.usage import CARRIER_MESSAGES, POLLS, SENT, Counted
from orderflow.aws.observability import logger
from orderflow.aws.webhooks import Secret
from orders.handlers import publish
from orders.stream_publication import PublicationLags
from shipping.handlers import receive_webhook
from tests.compare import comparison
from tests.fakes.aws import clients
from tests.fakes.aws.environment import TABLES
from tests.fakes.aws.metered import Metered, schema_of
from tests.fakes.aws.ses import FakeSes
from tests.faults.paths import BOTH_MUGS, FILTERS, Path, Stage, begin, delivers, dispatches
from tests.faults.simulation import Consumers, Functions, Simulation, real_functions

SECONDS = 0.02
SAGA_SECONDS = 0.3
EMAILS = "NotificationsMail"
AUTHORIZER = "IdentityAuthorize"
ORDER = Path("an order", "delivered", fulfilment=(dispatches("parcel_1", BOTH_MUGS, FILTERS), delivers("parcel_1")))
_WIRE = {"PutObject": "PUT", "GetObject": "GET"}


def count() -> Counted:
    """Return the usage of an order of two lines, in a pipeline that has processed another order before."""
    with pytest.MonkeyPatch.context() as patch, _quiet():
        streamed, queued = consumers()
        counter = _Counter()
        modules = {name: import_module(module).handler for name, (module, _) in {**streamed, **queued}.items()}
        handlers = {**real_functions().handlers, **modules}
        stage = Stage(patch, Functions({name: counter.observed(name, handler) for name, handler in handlers.items()}))
        simulation = stage.simulation(ORDER)
        # For this run only: the cached secret would be used by later tests.
        patch.setattr(receive_webhook, "SECRET", Secret("carrier", simulation.aws.secretsmanager))  # pyright: ignore[reportArgumentType]
        # They are written every ten seconds: by the first order, not by the counted one.
        patch.setattr(publish.PUBLICATION, "lags", PublicationLags())
        simulation.streamed_consumers, simulation.consumers = streamed, queued
        counter.lend(simulation)
        begin(simulation, ORDER, "bob", "key-0")
        simulation.process_all()
        counter.start()
        begin(simulation, ORDER)
        simulation.process_all()
        return counter.counted()


def consumers() -> tuple[Consumers, Consumers]:
    """Return the consumers that a stream triggers, and those that a queue triggers."""
    known, resources = comparison.consumers(), template.source()["Resources"]
    streamed = {
        name: one
        for name, one in known.items()
        if any(event["Type"] in {"Kinesis", "DynamoDB"} for event in resources[name]["Properties"]["Events"].values())
    }
    return streamed, {name: one for name, one in known.items() if name not in streamed}


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard output within the context, and reset the functions' clients after it."""
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        clients.lend()


class _Counter:
    """Observes invocations, their calls and their log lines."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lines: dict[str, list[str]] = {}
        self._invoked: list[str] = []
        self._meter = Meter({table.name: schema_of(table) for table in TABLES})
        self._current = ""
        self._answered = {"OrdersPlace": 0, "ShippingWebhook": 0}
        self._messages: list[str] = []

    def lend(self, simulation: Simulation) -> None:
        """Meter the services of a simulation."""
        aws = simulation.aws
        services: Mapping[str, Any] = {
            "dynamodb": aws.dynamodb,
            "events": aws.events,
            "kinesis": aws.kinesis,
            "sqs": aws.sqs,
            "sns": aws.sns,
            "s3": aws.s3,
            "stepfunctions": aws.stepfunctions,
            "secretsmanager": aws.secretsmanager,
            "appconfigdata": aws.appconfigdata,
            "ses": FakeSes(),
        }
        clients.lend(**{name: Metered(service, name, self._called) for name, service in services.items()})

    def start(self) -> None:
        """Discard all counts so far, but not the known sizes of stored items."""
        self._account(Counted())
        for recorded in (self._lines, self._invoked, self._messages):
            recorded.clear()
        self._answered = dict.fromkeys(self._answered, 0)

    def observed(self, name: str, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return a handler whose invocations are counted."""

        def invoke(event: Any, context: Any) -> Any:
            written, printed = io.StringIO(), io.StringIO()
            handlers = cast("Any", logger).registered_handler
            stream, handlers.stream, self._current = handlers.stream, written, name
            level = logging.root.manager.disable
            logging.disable(logging.NOTSET)
            try:
                with redirect_stdout(printed):
                    answer = handler(event, context)
            finally:
                handlers.stream, self._current = stream, ""
                logging.disable(level)
            self._invoked.append(name)
            self._lines.setdefault(name, []).extend([*written.getvalue().splitlines(), *printed.getvalue().splitlines()])
            if name in self._answered:
                self._answered[name] += len(answer.get("body", ""))
            if any(record.get("eventSource") == "aws:sqs" for record in event.get("Records", ())):
                self._messages.append(name)
            return answer

        return invoke

    def counted(self) -> Counted:
        """Return the usage since the start."""
        counted, published = Counted(), parts.published(self._calls)
        memory = _memory()
        self._account(counted)
        for name in [*self._invoked, AUTHORIZER]:
            counted.invocations[name] += 1
            usage.share_among(name, published, "invocations", 1, counted)
            usage.share_among(name, published, "Lambda GB-seconds", memory[name] / 1024 * SECONDS, counted)
        for name, lines in self._lines.items():
            usage.share_among(name, published, "log bytes", usage.logged(lines), counted)
        for name in self._messages:
            # `count_calls` counts the message of an email with the email.
            if name != EMAILS:
                counted.add(parts.of_function(name), "SQS requests", SENT + POLLS)
        usage.count_sagas(1, SAGA_SECONDS, counted)
        usage.count_requests(CONFIRMED, 1, self._answered["OrdersPlace"], counted, by_url=False)
        usage.count_requests("shipping", CARRIER_MESSAGES, self._answered["ShippingWebhook"], counted, by_url=True)
        return counted

    def _account(self, counted: Counted) -> None:
        usage.count_calls(self._calls, self._meter, counted)
        self._calls.clear()

    def _called(self, call: Call) -> None:
        if self._current:
            self._calls.append(Call(call.service, _WIRE.get(call.operation, call.operation), _wired(call), call.answer, self._current))


def _wired(call: Call) -> dict[str, Any]:
    """Return the parameters as on the wire: binary records in Base64."""
    if call.operation != "PutRecords":
        return call.parameters
    records = [record | {"Data": base64.b64encode(_bytes(record["Data"])).decode()} for record in call.parameters["Records"]]
    return call.parameters | {"Records": records}


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _memory() -> dict[str, int]:
    """Return the memory of each function in MB, by the template."""
    resources = template.translated()["Resources"]
    return {name: int(one["Properties"]["MemorySize"]) for name, one in resources.items() if one["Type"] == "AWS::Lambda::Function"}
