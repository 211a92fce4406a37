"""`POST /orders/{order_id}/cancellation`: the owner cancels the undispatched lines.

Only the event is recorded here. It starts the saga, which compensates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import order_access, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api
from orderflow.aws.order_log import OrderLog, Refused
from orderflow.domain.commands import RequestCancellation
from orders import api_models, presenters

if TYPE_CHECKING:
    from orderflow.domain.order import Order, State

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
_REASONS: dict[State, str] = {
    "failing": "this order is being rejected: it will not be charged or shipped",
    "rejected": "this order was rejected: it is not charged or shipped",
    "dispatched": "everything of this order was dispatched; you can return it after delivery",
    "delivered": "this order was delivered; you can return it",
    "lost": "this order was lost in transit; its charge is refunded",
    "partly_returned": "this order was delivered; you can return it",
    "returned": "this order was returned already",
}


@api
def handler(event: ApiEvent) -> Response:
    """Return 202 with the order, which is being cancelled or was cancelled before."""
    order = order_access.owned_order(LOG, event)
    return answer(202, presenters.order(cancel(order, api_models.parse_cancellation(event).reason)))


def cancel(order: Order, reason: str) -> Order:
    """Record the customer's cancellation, once, and return the order after it.

    Raises:
        Problem: 409 if the order has no line to cancel.
        Conflict: every attempt lost against a concurrent append.
    """
    result = LOG.record(order, RequestCancellation("customer", reason), source="orders")
    if isinstance(result, Refused):
        raise Problem(409, "not-cancellable", "Not cancellable", _REASONS[result.order.state])
    return result.order
