"""How many points an order earns: pure rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.domain.money import Money, whole_dollars
from orderflow.domain.order import latest, price

if TYPE_CHECKING:
    from orderflow.domain.order import Order

# The events that change what an order is worth; the filter that wakes the consumer takes these.
POINT_EVENTS = frozenset({"OrderConfirmed", "OrderCancelled", "OrderLinesCancelled", "PaymentRefunded", "PaymentRefundReversed"})


def points_due(order: Order, points_per_unit: int) -> int:
    """Return how many points the order is worth as it is now: `points_per_unit` for each whole dollar's worth.

    An order that is not confirmed, or was cancelled, is worth none. What was cancelled of it later, and
    what was paid back, is not counted; parts of a dollar never are.
    """
    if not order.confirmed_at or order.state == "cancelled":
        return 0
    return points(net_spent(order), points_per_unit)


def version(order: Order) -> int:
    """Return the version of the last event that changed what the order is worth, 0 where none has; the same one whatever else happened."""
    last = latest(order, POINT_EVENTS)
    return last.version if last else 0


def net_spent(order: Order) -> Money:
    """Return what the order costs its customer by now. Never less than nothing."""
    kept = order.total.amount - price(order, order.cancelled).amount - order.refunded
    return Money(max(0, kept), order.total.currency)


def points(money: Money, points_per_unit: int) -> int:
    """Return the points for an amount of money: so many for each US dollar of its approximate value (`money.whole_dollars`)."""
    return whole_dollars(money) * points_per_unit
