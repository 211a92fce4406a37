"""Assign calls, invocations, events and messages to the parts of an order's cost.

Consumers run at the same time as the saga, so the calling function determines the part, not the time. The publisher works
for all parts; its events determine them.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from devtools.billing.calls import Call

CONFIRMED = "placed to confirmed"
ARCHIVE = "archive"
ANALYTICS = "analytics"
MAIL = "emails"
PAYMENT_SANDBOX = "payment sandbox"
CARRIER_SANDBOX = "carrier sandbox"
# Parts that the cost of an order excludes: sandboxes of other companies' services, and consumers for analysis.
APART = (ARCHIVE, ANALYTICS, MAIL, PAYMENT_SANDBOX, CARRIER_SANDBOX)

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
    "reviews",
    "notifications",
    "identity",
    ANALYTICS,
)


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
