"""The orders of the one who is asking: the API shows and changes no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, caller
from orderflow.aws.order_log import OrderLog, OrderNotFound
from orderflow.domain.ids import is_order_id
from orderflow.domain.order import fold

if TYPE_CHECKING:
    from orderflow.domain.events import Event
    from orderflow.domain.order import Order

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


def order(event: ApiEvent) -> Order:
    """Return the order of a request's path. Raises what `history` raises."""
    happened = history(event)
    return fold(happened[0].order_id, happened)


def history(event: ApiEvent) -> list[Event]:
    """Return the events of the order of a request's path, oldest first.

    Raises:
        Problem: 404 when there is no such order, and the very same when it is somebody else's; 401
            when nobody knows who is asking.
    """
    order_id, customer_id = (event.get("pathParameters") or {})["order_id"], caller(event).customer_id
    happened = _history(order_id) if is_order_id(order_id) else []
    if not happened or fold(order_id, happened).customer.id != customer_id:
        raise Problem(404, "order-not-found", "Order not found", "you have no order of this id")
    return happened


def _history(order_id: str) -> list[Event]:
    try:
        return LOG.history(order_id)
    except OrderNotFound:
        return []
