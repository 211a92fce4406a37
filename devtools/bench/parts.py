"""Assign calls, invocations, events and messages to the parts of an order's cost.

Consumers run beside each other and beside the saga, so not the time but the function that did something says which part
it belongs to; for the publisher, which works for all, the events do.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devtools.bench.proxy import Call
from devtools.cli import UserError
from devtools.target import Target
from devtools.template import translated

CONFIRMED = "placed to confirmed"
ARCHIVE = "archive"
ANALYTICS = "analytics"
MAIL = "emails"
PAYMENT_SANDBOX = "payment sandbox"
CARRIER_SANDBOX = "carrier sandbox"
# Parts that are not in the cost of an order: sandboxes of other companies' services, and consumers for analysis.
APART = (ARCHIVE, ANALYTICS, MAIL, PAYMENT_SANDBOX, CARRIER_SANDBOX)

RECEIVED = 10  # messages that one request to SQS receives or deletes at most

PUBLISHER = "OrdersPublish"
_SAGA = frozenset({"IdentityAuthorize", "OrdersPlace", "InventoryReserve", "FraudScreen", "PaymentsAuthorize", "OrdersConfirm"})
_SAGA_EVENTS = frozenset({"OrderPlaced", "StockReserved", "OrderScreened", "PaymentAuthorized", "OrderConfirmed"})
_CONTEXTS = (
    "orders",
    "inventory",
    "fraud",
    "payments",
    "shipping",
    "ledger",
    "invoices",
    "loyalty",
    "analytics",
    "reviews",
    "notifications",
    "identity",
    ANALYTICS,
)
# Patterns that match every order of the bench, and patterns that match none: nothing is replayed.
_ALWAYS = {"replay-name": [{"exists": False}]}
_NEVER = {"replay-name": [{"exists": True}]}


def of_function(function: str) -> str:
    """Return the part of a function, given by its logical id."""
    if function in _SAGA:
        return CONFIRMED
    context = next((context for context in _CONTEXTS if function.lower().startswith(context)), "others")
    return MAIL if context == "notifications" else context


def of_call(call: Call, sandboxes: Mapping[str, str]) -> str:
    """Return the part of a call; `sandboxes` are the parts of the sandboxes' tables."""
    return sandboxes.get(call.parameters.get("TableName", "")) or of_function(call.caller)


def of_event(event: Mapping[str, Any]) -> str:
    """Return the part of an event: the saga, or the context that appended it."""
    return CONFIRMED if event["type"] in _SAGA_EVENTS else event["source"]


def events(call: Call) -> list[dict[str, Any]]:
    """Return the events that a call publishes to the bus or a stream."""
    match call.operation:
        case "PutEvents":
            return [json.loads(entry["Detail"]) for entry in call.parameters["Entries"]]
        case "PutRecords":
            return [json.loads(base64.b64decode(record["Data"])) for record in call.parameters["Records"]]
        case _:
            return []


def published(calls: Iterable[Call]) -> dict[str, float]:
    """Return the share of each part in the events published to bus and stream."""
    known = {event["event_id"]: of_event(event) for call in calls for event in events(call)}
    parts = list(known.values())
    return {part: parts.count(part) / len(parts) for part in dict.fromkeys(parts)}


def scheduled(template: Mapping[str, Any] | None = None) -> set[str]:
    """Return the scheduled functions."""
    resources = (template or translated())["Resources"].values()
    schedules = [resource["Properties"]["Target"]["Arn"] for resource in resources if resource["Type"] == "AWS::Scheduler::Schedule"]
    return {_resource(arn) for arn in schedules}


def _resource(arn: Mapping[str, Any]) -> str:
    [got] = arn.values()
    return got[0] if isinstance(got, list) else str(got).partition(".")[0]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


@dataclass(frozen=True)
class Routes:
    """The functions that receive an event, by detail-type, and the consumer of each queue, by the queue's name.

    `batches` has the batch sizes of functions that only a queue triggers. `streams` are the functions that a stream triggers: reading it
    costs nothing.
    """

    events: Mapping[str, list[str]]
    queues: Mapping[str, str]
    batches: Mapping[str, int]
    streams: frozenset[str] = frozenset()

    @property
    def fed(self) -> frozenset[str]:
        """The functions that queues and streams trigger."""
        return self.streams | frozenset(self.queues.values())

    def consumers(self, call: Call) -> list[str]:
        """Return the functions that receive messages through a call, once for each message."""
        match call.operation:
            case "PutEvents":
                return [function for entry in call.parameters["Entries"] for function in self.events.get(entry["DetailType"], [])]
            case "SendMessage":
                return [self.queues[name]] if (name := _name(call.parameters["QueueUrl"], "/")) in self.queues else []
            case _:
                return []


def routes(target: Target, functions: Mapping[str, str]) -> Routes:
    """Read the deployed routes; `functions` are names by logical id."""
    ids = {name: function for function, name in functions.items()}
    mappings = target.client("lambda").get_paginator("list_event_source_mappings").paginate()
    known = [one for page in mappings for one in page["EventSourceMappings"] if _name(one["FunctionArn"]) in ids]
    sources = [one for one in known if ":sqs:" in one["EventSourceArn"]]
    streams = frozenset(ids[_name(one["FunctionArn"])] for one in known if one not in sources)
    queues = {_name(one["EventSourceArn"]): ids[_name(one["FunctionArn"])] for one in sources}
    sizes = {ids[_name(one["FunctionArn"])]: min(one["BatchSize"], RECEIVED) for one in sources}
    batches = {function: size for function, size in sizes.items() if function not in streams}
    bus, events = target.resources["EventBus"], target.client("events")
    reached: dict[str, list[str]] = {}
    for rule in events.list_rules(EventBusName=bus)["Rules"]:
        arns = [one["Arn"] for one in events.list_targets_by_rule(EventBusName=bus, Rule=rule["Name"])["Targets"]]
        woken = [queues[name] for arn in arns if ":sqs:" in arn and (name := _name(arn)) in queues]
        for kind in kinds(rule["EventPattern"]) if woken else ():
            reached.setdefault(kind, []).extend(woken)
    return Routes(reached, queues, batches, streams)


def kinds(pattern: str) -> list[str]:
    """Return the detail-types that an event pattern matches, none where it matches replays only.

    Raises:
        UserError: it has conditions of which it is not known here whether they hold.
    """
    conditions = json.loads(pattern)
    if any(_NEVER.get(name) == wanted for name, wanted in conditions.items()):
        return []
    if any(name != "detail-type" and _ALWAYS.get(name) != wanted for name, wanted in conditions.items()):
        raise UserError(f"the bench does not know how often this pattern matches: {pattern}")
    return conditions["detail-type"]


def _name(address: str, separator: str = ":") -> str:
    return address.rpartition(separator)[2]
