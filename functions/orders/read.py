"""`GET /orders/{order_id}` and `GET /orders/{order_id}/events`: an order as its owner sees it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from orderflow import settings
from orderflow.clients import client
from orderflow.http import ApiEvent, Problem, Response, answer, api, caller
from orderflow.log import OrderLog, OrderNotFound
from orderflow.order import Order, fold
from orders.pricing import is_order_id
from orders.requests import OrderAnswer, Timeline, TimelineEntry

if TYPE_CHECKING:
    from orderflow.events import Event

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
# The first would teach how to get past the fraud rules; errors are named for us, not for customers.
_INSIDE = {
    "OrderScreened": ("score", "reasons"),
    "OrderHeldForReview": ("score", "reasons"),
    "OrderReviewApproved": ("reviewer", "note"),
    "OrderReviewRejected": ("reviewer", "note"),
    "FulfilmentFailed": ("step", "reason"),
}


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with the order or its events."""
    order_id = (event.get("pathParameters") or {})["order_id"]
    history = owned(order_id, caller(event).customer_id)
    if event["resource"].endswith("/events"):
        return answer(200, timeline(order_id, history))
    return answer(200, view(fold(order_id, history)))


def owned(order_id: str, customer_id: str) -> list[Event]:
    """Return the events of the customer's order, oldest first.

    Raises:
        Problem: 404 when there is no such order, and the very same when it is somebody else's.
    """
    history = _history(order_id) if is_order_id(order_id) else []
    if not history or fold(order_id, history).customer.id != customer_id:
        raise Problem(404, "order-not-found", "Order not found", "you have no order of this id")
    return history


def _history(order_id: str) -> list[Event]:
    try:
        return LOG.history(order_id)
    except OrderNotFound:
        return []


def view(order: Order) -> OrderAnswer:
    """Return the order as its owner sees it; one that is being unwound is still `placed`."""
    state = "placed" if order.state in {"new", "failing"} else order.state
    ended = order.failure if state == "rejected" else None
    return msgspec.convert(
        {
            "order_id": order.order_id,
            "state": state,
            "lines": order.lines,
            "total": order.total,
            "placed_at": order.placed_at,
            "reason": ended.reason if ended else None,
            "details": ended.details if ended else (),
        },
        OrderAnswer,
        from_attributes=True,
    )


def timeline(order_id: str, history: list[Event]) -> Timeline:
    """Return the events as their owner sees them.

    What the fraud rules found and what failed here stays inside.
    """
    return Timeline(order_id, tuple(map(_entry, history)))


def _entry(event: Event) -> TimelineEntry:
    data = msgspec.to_builtins(event.data, builtin_types=(datetime,))
    for hidden in _INSIDE.get(event.type, ()):
        data.pop(hidden)
    return TimelineEntry(event.order_version, event.type, event.occurred_at, event.source, event.event_id, event.causation_id, data)
