"""The order in a request's path, for its owner only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.http import ApiEvent, Problem, caller
from orderflow.aws.order_log import OrderNotFound
from orderflow.domain.ids import is_order_id
from orderflow.domain.order import fold

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.events import Event
    from orderflow.domain.order import Order


def owned_order(log: OrderLog, event: ApiEvent) -> Order:
    """Return the order in a request's path. Raises as `owned_history`."""
    history = owned_history(log, event)
    return fold(history[0].order_id, history)


def owned_history(log: OrderLog, event: ApiEvent) -> list[Event]:
    """Return the events of the order in a request's path, oldest first.

    Raises:
        Problem: 401 for an unauthenticated caller; 404 for an unknown order, and the same for an order of another customer, so
            that an answer never reveals that an order exists.
    """
    order_id, customer_id = (event.get("pathParameters") or {})["order_id"], caller(event).customer_id
    history = _history(log, order_id) if is_order_id(order_id) else []
    if not history or fold(order_id, history).customer.id != customer_id:
        raise Problem(404, "order-not-found", "Order not found", "order not found: check the id, and that the token is its customer's")
    return history


def _history(log: OrderLog, order_id: str) -> list[Event]:
    try:
        return log.history(order_id)
    except OrderNotFound:
        return []
