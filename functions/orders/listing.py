"""What the list of a customer's orders shows of each, and how it is read page by page. No AWS here."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from orderflow.money import Money
from orderflow.order import fold
from orders.requests import ShownState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orderflow.events import Event
    from orderflow.order import Order

# The events that change what the list shows; the rule that wakes the projection takes these.
SHOWN = frozenset(
    {
        "OrderPlaced",
        "OrderHeldForReview",
        "OrderReviewApproved",
        "OrderReviewRejected",
        "OrderConfirmed",
        "OrderRejected",
        "CancellationRequested",
        "OrderCancelled",
        "OrderLinesCancelled",
        "CancellationFailed",
        "ShipmentDispatched",
        "ShipmentDelivered",
        "ShipmentLost",
        "ReturnReceived",
    }
)
_DIGEST_BYTES = 12


class BadCursor(ValueError):
    """A cursor that this list never gave to this customer."""


class Row(Struct, frozen=True):
    """An order on its customer's list, as of the event `version`, which was the last that changed it."""

    customer_id: str
    order_id: str
    placed_at: datetime
    state: ShownState
    total: Money
    items: int
    version: int
    updated_at: datetime


def row(order_id: str, history: Sequence[Event]) -> Row:
    """Return the row that an order's events make; the same one whatever else has happened since."""
    order = fold(order_id, history)
    last = next(event for event in reversed(history) if event.type in SHOWN)
    return Row(
        customer_id=order.customer.id,
        order_id=order_id,
        placed_at=history[0].occurred_at,
        state=shown(order),
        total=order.total,
        items=sum(line.quantity for line in order.lines),
        version=last.order_version,
        updated_at=last.occurred_at,
    )


def shown(order: Order) -> ShownState:
    """Return the state of an order as its owner sees it; one that is being unwound is still `placed`."""
    return "placed" if order.state in {"new", "failing"} else cast("ShownState", order.state)


def cursor(customer_id: str, state: str | None, place: str) -> str:
    """Return what a customer sends back to go on after `place`, the key of the last order that they saw."""
    return base64.urlsafe_b64encode(_digest(customer_id, state, place) + place.encode()).decode().rstrip("=")


def place_of(customer_id: str, state: str | None, given: str) -> str:
    """Return the place that a cursor names.

    A cursor carries no customer: whose orders are read is never its to say. What it holds beside the
    place binds it to the customer and the filter that it was made for.

    Raises:
        BadCursor: it is broken, or was made for somebody else or for another filter.
    """
    try:
        raw = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        place = raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadCursor from None
    if not place or cursor(customer_id, state, place) != given:
        raise BadCursor
    return place


def _digest(customer_id: str, state: str | None, place: str) -> bytes:
    text = f"{len(customer_id)}:{customer_id}:{state or ''}:{place}"
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
