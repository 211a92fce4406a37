"""The idempotency keys of a payment at the provider, derived from the order id. They never change, so a repeated request has one effect."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orderflow.domain.order import Order


def payment_key(order_id: str) -> str:
    """Return the provider's idempotency key for authorizing the order's payment."""
    return f"{order_id}:authorize"


def order_id_of(payment_key: str) -> str | None:
    """Return the order id of a payment key, or None for a key of another system."""
    order_id, _, step = payment_key.rpartition(":")
    return order_id if order_id and step == "authorize" else None


def capture_key(order_id: str, parcel_id: str) -> str:
    """Return the provider's idempotency key for the capture of a parcel."""
    return f"{order_id}:capture:{parcel_id}"


def refund_key(order_id: str, cause: str, number: int = 1) -> str:
    """Return the provider's idempotency key for the refund number `number` of a cause."""
    return f"{order_id}:refund:{cause}" if number == 1 else f"{order_id}:refund-{number}:{cause}"


def refund_keys(order: Order) -> dict[str, str]:
    """Return the provider's keys of all recorded refunds, failed ones included, with their causes."""
    keys: dict[str, str] = {}
    counts = Counter[str]()
    for attempt in order.refunds:
        counts[attempt.cause] += 1
        keys[refund_key(order.order_id, attempt.cause, counts[attempt.cause])] = attempt.cause
    return keys
