"""Producers of events as a table, and consumers from the template's routes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from devtools import template
from orderflow.aws.publisher import STREAM_ONLY_EVENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

type Resources = dict[str, dict[str, Any]]

# The contexts that append an event; a test compares them with the commands of each context.
PRODUCERS: dict[str, tuple[str, ...]] = {
    "OrderPlaced": ("orders",),
    "StockReserved": ("inventory",),
    "StockReservationFailed": ("inventory",),
    "OrderScreened": ("fraud",),
    "OrderHeldForReview": ("fraud",),
    "OrderReviewApproved": ("reviews",),
    "OrderReviewRejected": ("reviews",),
    "PaymentAuthorized": ("payments",),
    "PaymentDeclined": ("payments",),
    "PaymentVoided": ("payments",),
    "FulfilmentFailed": ("orders",),
    "ReservationExpired": ("inventory",),
    "StockReleased": ("inventory",),
    "OrderConfirmed": ("orders",),
    "OrderRejected": ("orders",),
    "CancellationRequested": ("orders", "payments"),
    "OrderCancelled": ("orders",),
    "OrderLinesCancelled": ("orders",),
    "CancellationFailed": ("shipping",),
    "ShipmentRequested": ("shipping",),
    "ShipmentRecalled": ("shipping",),
    "ShipmentDispatched": ("shipping",),
    "ShipmentDelivered": ("shipping",),
    "ShipmentLost": ("shipping",),
    "PaymentCaptured": ("payments",),
    "PaymentRefunded": ("payments",),
    "PaymentRefundFailed": ("payments",),
    "PaymentRefundReversed": ("payments",),
    "PaymentDisputed": ("payments",),
    "DisputeClosed": ("payments",),
    "DisputeOutcomeChanged": ("payments",),
    "ReturnRequested": ("orders",),
    "ReturnReceived": ("shipping",),
    "InvoiceIssued": ("invoices",),
    "CreditNoteIssued": ("invoices",),
    "LedgerDifferenceFound": ("ledger",),
}


@dataclass(frozen=True, order=True)
class Consumer:
    """A consumer of an event, and the rule or stream that delivers it."""

    name: str
    by: str


@dataclass(frozen=True)
class Routes:
    """The consumers of each event, and the events that are not on the bus."""

    consumers: dict[str, tuple[Consumer, ...]]
    stream_only: frozenset[str]


def routes(known: Collection[str]) -> Routes:
    """Return the template's routes of these event types."""
    resources: Resources = template.translated()["Resources"]
    found: dict[str, set[Consumer]] = {name: set() for name in known}
    for types, consumer in [*_by_rules(resources), *_by_streams(resources)]:
        for name in types & found.keys():
            found[name].add(consumer)
    return Routes({name: tuple(sorted(consumers)) for name, consumers in found.items()}, STREAM_ONLY_EVENTS)


def _by_rules(resources: Resources) -> Iterator[tuple[set[str], Consumer]]:
    for rule, properties in _of(resources, "AWS::Events::Rule"):
        types = set(properties["EventPattern"]["detail-type"])
        for target in properties["Targets"]:
            for some, name in _reached(resources, _id(target["Arn"]), types):
                yield some, Consumer(name, f"rule `{rule}`{_when(properties['EventPattern'])}")


def _when(pattern: dict[str, Any]) -> str:
    return ", replays alone" if pattern.get("replay-name") == [{"exists": True}] else ""


def _reached(resources: Resources, target: str, types: set[str]) -> Iterator[tuple[set[str], str]]:
    """Yield the consumers behind a rule's target or its topic, each with the event types that reach it."""
    match resources[target]["Type"]:
        case "AWS::SQS::Queue":
            yield from ((types, _name(resources, function)) for function, _ in _readers(resources, target))
        case "AWS::SNS::Topic":
            for _, properties in _of(resources, "AWS::SNS::Subscription"):
                if _id(properties["TopicArn"]) == target:
                    passed = types & set(properties.get("FilterPolicy", {}).get("detail-type", types))
                    yield from _reached(resources, _id(properties["Endpoint"]), passed)
        case "AWS::Lambda::Function" | "AWS::StepFunctions::StateMachine":
            yield types, _name(resources, target)
        case other:
            message = f"a rule's events go to {target}, and who reads an {other} is not known here"
            raise NotImplementedError(message)


def _by_streams(resources: Resources) -> Iterator[tuple[set[str], Consumer]]:
    """Yield the consumers with a filter on a stream; readers without a filter forward events."""
    streams = [name for name, resource in resources.items() if resource["Type"] in {"AWS::Kinesis::Stream", "AWS::DynamoDB::Table"}]
    for stream in streams:
        for function, properties in _readers(resources, stream):
            for entry in properties.get("FilterCriteria", {}).get("Filters", []):
                yield _types(json.loads(entry["Pattern"])), Consumer(_name(resources, function), f"stream `{stream}`")


def _readers(resources: Resources, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, properties in _of(resources, "AWS::Lambda::EventSourceMapping"):
        if _id(properties["EventSourceArn"]) == source:
            yield _id(properties["FunctionName"]), properties


def _types(pattern: dict[str, Any]) -> set[str]:
    """Return the event types that a stream's filter names: under `type`, as DynamoDB writes them or as they are."""
    named = pattern.get("type")
    if isinstance(named, dict):
        named = cast("dict[str, Any]", named).get("S")
    if isinstance(named, list):
        return {name for name in cast("list[Any]", named) if isinstance(name, str)}
    return {name for part in pattern.values() if isinstance(part, dict) for name in _types(cast("dict[str, Any]", part))}


def _of(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, resource["Properties"]) for name, resource in resources.items() if resource["Type"] == kind)


def _name(resources: Resources, logical_id: str) -> str:
    """Return the name of a function's module, `payments/settle_payment`, or of a state machine's definition."""
    properties = resources[logical_id]["Properties"]
    handler = properties.get("Handler", "")
    return f"`{handler.removesuffix('.handler').replace('.handlers.', '/')}`" if handler else f"the state machine `{logical_id}`"


def _id(value: Any) -> str:
    match value:
        case {"Ref": str() as name} | {"Fn::GetAtt": [str() as name, *_]}:
            return name
        case _:
            return ""
