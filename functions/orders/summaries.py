"""What the list of a customer's orders shows of each. No AWS here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from orderflow.domain.money import Money
from orderflow.domain.order import latest
from orders.api_models import ShownState

if TYPE_CHECKING:
    from orderflow.domain.order import Order

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


def row(order: Order) -> Row:
    """Return the row of an order; the same one whatever else has happened since an event that changes it.

    Raises:
        ValueError: it was never placed.
    """
    last = latest(order, SHOWN)
    if last is None or order.placed_at is None:
        message = f"{order.order_id} was never placed"
        raise ValueError(message)
    return Row(
        customer_id=order.customer.id,
        order_id=order.order_id,
        placed_at=order.placed_at,
        state=shown(order),
        total=order.total,
        items=sum(line.quantity for line in order.lines),
        version=last.version,
        updated_at=last.appended_at,
    )


def shown(order: Order) -> ShownState:
    """Return the state of an order as its owner sees it; one that is being unwound is still `placed`."""
    return "placed" if order.state in {"new", "failing"} else cast("ShownState", order.state)
