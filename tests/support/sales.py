"""Events for tests of analytics: placed, confirmed, rejected and refunded orders."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from orderflow.domain import events
from orderflow.domain.events import Event
from orderflow.domain.money import Money
from tests.support.orders import ADDRESS, ANN

# Two minutes before the next day and month.
BEGIN = datetime(2026, 1, 31, 23, 58, tzinfo=UTC)
CATEGORIES = {"MUG": "tableware", "CUP": "tableware", "TEA": None}


def event(number: int, event_data: events.EventData, seconds: int = 0) -> Event:
    """Return the first event of the n-th order, `seconds` after `BEGIN`."""
    return Event(
        event_id=f"ord_{number}:1",
        type=type(event_data).__name__,
        schema_version=1,
        occurred_at=BEGIN + timedelta(seconds=seconds),
        source="tests",
        correlation_id="c",
        causation_id=None,
        order_id=f"ord_{number}",
        order_version=1,
        data=event_data,
    )


def lines(quantities: dict[str, int]) -> tuple[events.Line, ...]:
    """Return lines of products (sku: quantity); the category of an unknown sku is its first part, as in CATEGORY-SKU."""
    return tuple(events.Line(sku, sku, quantity, Money(100, "EUR"), _category(sku)) for sku, quantity in quantities.items())


def _category(sku: str) -> str | None:
    return CATEGORIES[sku] if sku in CATEGORIES else sku.partition("-")[0].lower()


def placed(quantities: dict[str, int] | None = None) -> events.OrderPlaced:
    """Return the data of a placed order of these products (sku: quantity), at 1.00 each; one mug by default."""
    ordered = quantities or {"MUG": 1}
    return events.OrderPlaced(ANN, lines(ordered), Money(100 * sum(ordered.values()), "EUR"), ADDRESS, "GB")


def confirmed(quantities: dict[str, int], currency: str = "EUR") -> events.EventData:
    """Return the data of a confirmed order of these products (sku: quantity), at 1.00 each."""
    total = Money(100 * sum(quantities.values()), currency)
    return events.OrderConfirmed(ANN, lines(quantities), total, ADDRESS, "auth_1")


def rejected(reason: Any) -> events.EventData:
    """Return the data of an order rejected for this reason."""
    return events.OrderRejected(ANN, lines({"MUG": 1}), Money(100, "EUR"), reason, ())


def short() -> events.EventData:
    """Return the data of a failed reservation."""
    return events.StockReservationFailed((events.Shortage("MUG", 1, 0),))


def refunded(amount: int, currency: str = "EUR") -> events.EventData:
    """Return the data of a refund of `amount` minor units."""
    return events.PaymentRefunded(ANN, "ref", "return:1", Money(amount, currency))


def record(document: bytes) -> dict[str, Any]:
    """Return a Kinesis record with this document."""
    return {"eventSource": "aws:kinesis", "kinesis": {"data": base64.b64encode(document).decode(), "partitionKey": "k"}}


def streamed(*some: Event) -> Any:
    """Return a Kinesis batch with these events."""
    return {"Records": [record(events.encode(one)) for one in some]}
