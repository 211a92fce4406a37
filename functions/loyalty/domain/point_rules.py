"""How many points an order earns: pure rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loyalty.domain import routed_events
from orderflow.domain.money import Money, whole_dollars
from orderflow.domain.order import latest, price

if TYPE_CHECKING:
    from orderflow.domain.order import Order


def points_due(order: Order, points_per_unit: int) -> int:
    """Return the points of an order in its present state: `points_per_unit` for each whole US dollar.

    Zero for an order that is not confirmed or is cancelled. Cancelled items, refunds and parts of a dollar do not count.
    """
    if not order.confirmed_at or order.state == "cancelled":
        return 0
    return points(net_spent(order), points_per_unit)


def version(order: Order) -> int:
    """Return the version of the last event that can change the order's points; 0 if it has none."""
    last = latest(order, routed_events.AWARD_POINTS)
    return last.version if last else 0


def net_spent(order: Order) -> Money:
    """Return the order's total less cancelled items and refunds; at least 0."""
    amount = order.total.amount - price(order, order.cancelled).amount - order.refunded
    return Money(max(0, amount), order.total.currency)


def points(money: Money, points_per_unit: int) -> int:
    """Return the points for an amount: `points_per_unit` for each US dollar of its approximate value (`money.whole_dollars`)."""
    return whole_dollars(money) * points_per_unit
